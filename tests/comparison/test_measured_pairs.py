"""Flatness in pairs, the width of maps and the best point of an axis, against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from optforge.comparison import (
    CellResult,
    Findings,
    extra_pairs,
    load_recipe,
    map_pairs,
    optima,
    vary,
)
from optforge.comparison.figures.measured_pairs import good_shares
from optforge.comparison.result import TaskResult, Trial, TunedSetting
from optforge.report.comparison.tables import best_of_axis, extra_measurements, maps
from tests.helpers.tiny import Blobs

SPACE = load_recipe("adamw").space
losses = st.one_of(st.floats(0.01, 10.0), st.just(math.nan))


def tuned(
    name: str, finals: list[CellResult], points: list[list[float]] | None = None
) -> TunedSetting:
    trials = tuple(
        Trial((("lr", 0.1),), tuple(CellResult(loss=x, diverged=math.isnan(x)) for x in row))
        for row in points or []
    )
    return TunedSetting(name, SPACE, (), (), (("lr", 0.1),), finals=tuple(finals), heat_map=trials)


def found(*results: dict[str, TunedSetting], axis: list[float] | None = None) -> Findings:
    axes = [{"batch_size": value} for value in axis or []] or [{}] * len(results)
    made = (
        TaskResult(vary(Blobs(), attributes), of)
        for attributes, of in zip(axes, results, strict=True)
    )
    return Findings(tuple(made), "base")


@given(st.integers(1, 4).flatmap(
    lambda seeds: st.lists(st.lists(losses, min_size=seeds, max_size=seeds), min_size=1, max_size=6)
))  # fmt: skip
def test_shares_of_good_points_are_counted_seed_by_seed(table: list[list[float]]) -> None:
    shares = good_shares(tuned("a", [], table).heat_map, 0.25)
    for seed, share in enumerate(shares):
        column = [row[seed] for row in table]
        finite = [x for x in column if not math.isnan(x)]
        if not finite:
            assert math.isnan(share)
            continue
        good = sum(math.log(x) <= math.log(min(finite)) + math.log(1.25) for x in finite)
        assert share == pytest.approx(good / len(column))


def test_widths_of_maps_are_compared_in_pairs() -> None:
    generator = np.random.default_rng(3)
    wide, narrow = (
        np.exp(generator.normal(0, spread, size=(25, 10))).tolist() for spread in (0.2, 0.6)
    )
    of = found({"base": tuned("base", [], narrow), "b": tuned("b", [], wide)})
    base, other = map_pairs(of)
    expected = stats.ttest_rel(
        *(good_shares(tuned("x", [], table).heat_map) for table in (wide, narrow))
    )
    assert base.difference is None and other.difference is not None
    assert (other.points, other.share.count) == (25, 10)
    assert other.difference.p_value == pytest.approx(expected.pvalue)
    assert other.difference.low == pytest.approx(expected.confidence_interval().low)
    text = maps(of)
    assert text is not None and [row[1] for row in text.rows] == ["base", "b"]
    assert "10 % above" in text.title


def test_flatness_is_compared_in_pairs_and_its_rise_spares_the_training_loss() -> None:
    generator = np.random.default_rng(4)
    plain, noisy = (np.exp(generator.normal(size=(2, 10))) for _ in range(2))

    def runs(place: int) -> list[CellResult]:
        names = ("loss_without_noise", "loss_under_absolute_noise_0.02")
        rows = zip(plain[place], noisy[place], strict=True)
        return [CellResult(extras=dict(zip(names, row, strict=True))) for row in rows]

    of = found({"base": tuned("base", runs(0)), "b": tuned("b", runs(1))})
    told = {(one.recipe, one.name): one for one in extra_pairs(of)}
    rise = told["b", "rise_under_absolute_noise_0.02"]
    expected = stats.ttest_rel(np.log(noisy[1] / plain[1]), np.log(noisy[0] / plain[0]))
    assert rise.ratio is not None and rise.ratio.p_value == pytest.approx(expected.pvalue)
    assert rise.mean == pytest.approx(stats.gmean(noisy[1] / plain[1]))
    direct = told["b", "loss_under_absolute_noise_0.02"].ratio
    assert direct is not None
    assert direct.mean == pytest.approx(np.mean(np.log(noisy[1]) - np.log(noisy[0])))
    assert told["base", "loss_without_noise"].ratio is None
    text = extra_measurements(of)
    assert text is not None and len(text.rows) == 2 * 3
    assert extra_measurements(found({"base": tuned("base", [CellResult()])})) is None


def test_what_may_be_zero_or_below_drops_no_seed() -> None:
    def runs(*values: float) -> list[CellResult]:
        return [CellResult(extras={"distance": value}) for value in values]

    of = found({"base": tuned("base", runs(0.2, 0.4, 0.1)), "b": tuned("b", runs(0.2, -0.1, 0.5))})
    base, other = extra_pairs(of)
    assert base.mean == pytest.approx(0.2) and other.mean == pytest.approx(0.2)
    assert base.ratio is None and other.ratio is None
    missing = found({"base": tuned("base", runs(0.2)), "b": tuned("b", runs(math.nan))})
    assert [pair.recipe for pair in extra_pairs(missing)] == ["base"]


def along(table: list[list[float]], axis: list[float]) -> Findings:
    rows = [[CellResult(test_loss=x, diverged=math.isnan(x)) for x in row] for row in table]
    return found(*({"base": tuned("base", row)} for row in rows), axis=axis)


def test_the_best_of_an_axis_is_that_of_all_resamples() -> None:
    table = [[1.0, 2.0, 1.5], [1.4, 1.4, 1.3], [1.1, 1.9, 1.2]]
    (told,) = optima(along(table, [16, 32, 64]))
    logs = np.log(table)
    wins = [
        int(logs[:, list(drawn)].mean(axis=1).argmin())
        for drawn in itertools.product(range(3), repeat=3)
    ]
    for place, value in enumerate([16, 32, 64]):
        assert told.shares[value] == pytest.approx(wins.count(place) / 27, abs=0.04)
    assert told.best == [16, 32, 64][int(logs.mean(axis=1).argmin())]
    assert (told.low, told.high) == (16, 64) and told.axis == "batch_size"


def test_a_clear_optimum_has_a_point_for_an_interval_and_one_that_diverged_is_none() -> None:
    table = [[2.0, 2.1, 2.2], [1.0, 1.1, 1.2], [0.5, 0.4, math.nan]]
    of = along(table, [32, 64, 16])
    (told,) = optima(of)
    assert (told.best, told.low, told.high) == (64, 64, 64)
    text = best_of_axis(of)
    assert text is not None and text.rows[0][1:3] == ("base", ">= 64 (end of the axis)")
    assert optima(along(table[:2], [16, 32])) == []  # two points have no optimum between them
    assert optima(along([[math.nan]] * 3, [1, 2, 3])) == []
