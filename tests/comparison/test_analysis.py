"""Figures against oracles: brute force, SciPy, and cases worked out by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from optforge.comparison import CellResult, Findings, compare_pairs, load_recipe, summaries, vary
from optforge.comparison.figures.analysis import best_so_far, good_rates
from optforge.comparison.figures.arrivals import arrival
from optforge.comparison.figures.time_to_target import score_times, time_to_target
from optforge.comparison.protocol import derived_target
from optforge.comparison.result import TaskResult, Trial, TunedSetting, score
from tests.helpers.tiny import Blobs

SPACE = load_recipe("adamw").space


def trial(loss: float, lr: float = 0.1, **changes: object) -> Trial:
    return Trial((("lr", lr),), (CellResult(loss=loss, **changes),))


def finals(losses: list[float], **changes: object) -> tuple[CellResult, ...]:
    return tuple(CellResult(loss=x, test_loss=2 * x, test_metric=0.5, **changes) for x in losses)


def found(runs: dict[str, tuple[CellResult, ...]], target: float | None = None) -> Findings:
    tuned = {
        name: TunedSetting(name, SPACE, (), (), (("lr", 0.1), ("weight_decay", 2.0)), finals=of)
        for name, of in runs.items()
    }
    return Findings((TaskResult(vary(Blobs(), {}), tuned, target=target),), next(iter(runs)))


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=7))
def test_best_so_far_is_the_mean_over_all_subsets(logs: list[float]) -> None:
    trials = [trial(math.exp(x)) for x in logs]
    for k, value in enumerate(best_so_far(trials), 1):
        brute = np.mean([min(subset) for subset in itertools.combinations(logs, k)])
        assert value == pytest.approx(brute, abs=1e-9)


def test_a_trial_that_diverged_counts_as_the_worst() -> None:
    trials = [trial(math.e), trial(math.e**2), trial(math.nan, diverged=True)]
    assert best_so_far(trials)[0] == pytest.approx((1 + 2 + 2) / 3)
    assert best_so_far([trial(1.0, diverged=True)]) == []


def test_pairs_are_scipy_s_paired_test_of_log_losses() -> None:
    generator = np.random.default_rng(0)
    base = np.exp(generator.normal(size=12))
    other = base * np.exp(generator.normal(-0.3, 0.2, size=12))
    (pair,) = compare_pairs(found({"a": finals(list(base)), "b": finals(list(other))}))
    told = stats.ttest_rel(np.log(other), np.log(base))
    low, high = told.confidence_interval()
    assert pair.test_loss.p_value == pytest.approx(told.pvalue)
    assert (pair.test_loss.low, pair.test_loss.high) == pytest.approx((low, high))
    # All test losses are twice the others.
    assert pair.validation_loss.mean == pytest.approx(pair.test_loss.mean)
    assert (pair.recipe, pair.baseline, pair.verdict) == ("b", "a", "better")


def test_many_optimizers_are_corrected_together() -> None:
    generator = np.random.default_rng(1)
    runs = {n: finals(list(np.exp(generator.normal(size=10)))) for n in "abcd"}
    pairs = compare_pairs(found(runs))
    raw = sorted(p.test_loss.p_value for p in pairs)
    assert min(p.adjusted for p in pairs) == pytest.approx(min(1.0, 3 * raw[0]))
    assert all(p.adjusted >= p.test_loss.p_value for p in pairs)


def test_a_run_that_diverged_is_counted_and_nothing_is_claimed() -> None:
    broken = (*finals([0.1] * 9), CellResult(diverged=True))
    of = found({"a": finals([1.0] * 10), "b": broken})
    (pair,) = compare_pairs(of)
    assert pair.adjusted == 1.0 and pair.verdict == "undecided"
    assert [s.diverged_runs for s in summaries(of)] == [0, 1]


def test_a_run_without_a_result_leaves_its_pair_out() -> None:
    whole = finals([1.0, 1.1, 1.2, 1.3])
    broken = (CellResult(failed="no answer within 600 s"), *finals([0.5, 0.6, 0.7]))
    of = found({"a": whole, "b": broken})
    (pair,) = compare_pairs(of)
    expected = stats.ttest_rel(np.log([0.5, 0.6, 0.7]), np.log([1.1, 1.2, 1.3]))
    assert pair.test_loss.count == 3 and pair.arrived == (0, 0)
    assert pair.test_loss.p_value == pytest.approx(expected.pvalue)
    assert [(s.failed_runs, s.diverged_runs) for s in summaries(of)] == [(0, 0), (1, 0)]
    nothing = tuple(CellResult(failed="died") for _ in range(4))
    assert compare_pairs(found({"a": whole, "b": nothing})) == []


def curve(*losses: float) -> tuple[tuple[float, ...], ...]:
    return tuple((10 * (n + 1), loss, 0.5, 0.1 * (n + 1)) for n, loss in enumerate(losses))


def test_steps_to_target_are_paired_and_misses_counted() -> None:
    slow, fast = curve(0.9, 0.8, 0.4, 0.3), curve(0.9, 0.4, 0.3, 0.2)
    runs = {"a": finals([1.0] * 3, curve=slow), "b": finals([1.0] * 3, curve=fast)}
    (pair,) = compare_pairs(found(runs, 0.5))
    assert pair.arrived == (3, 3)
    assert pair.steps is not None and math.exp(pair.steps.mean) == pytest.approx(20 / 30)
    runs["b"] = (*runs["b"][:2], *finals([1.0], curve=curve(0.9, 0.9)))
    (pair,) = compare_pairs(found(runs, 0.5))
    assert pair.arrived == (2, 3) and pair.steps is None  # those that arrive are a selection
    assert arrival(runs["a"][0], 0.05) == math.inf and arrival(runs["a"][0], None) == math.inf


def test_steps_to_the_end_of_the_baseline_are_by_seed_and_in_shares_of_its_steps() -> None:
    def run(*losses: float, **changes: Any) -> CellResult:
        curve = tuple((10 * n, loss, 0.5, 0.1) for n, loss in enumerate(losses, 1))
        return CellResult(loss=losses[-1], test_loss=1.0, curve=curve, steps=40, **changes)

    base = (run(0.9, 0.8, 0.7, 0.6), run(0.9, 0.8, 0.5, 0.4))
    fast = (run(0.7, 0.6, 0.5, 0.4), run(0.7, 0.5, 0.45, 0.4))
    (pair,) = compare_pairs(found({"a": base, "b": fast}))
    assert pair.final_steps is not None and pair.reached == 2
    assert math.exp(pair.final_steps.mean) == pytest.approx((20 / 40 * 40 / 40) ** 0.5)
    (pair,) = compare_pairs(found({"a": base, "b": (fast[0], run(0.9, 0.8, 0.7, 0.6))}))
    assert (pair.reached, pair.final_steps) == (1, None)  # those that arrive are a selection
    lost = (base[0], run(0.9, 0.8, 0.5, 0.4, diverged=True))
    (pair,) = compare_pairs(found({"a": lost, "b": fast}))
    assert (pair.reached, pair.final_steps) == (1, None)  # nothing is reached that was lost


def test_a_derived_target_is_the_median_at_three_quarters() -> None:
    runs = [CellResult(steps=40, curve=curve(9.0, 8.0, x, 0.0)) for x in (3.0, 1.0, 2.0)]
    assert derived_target(runs) == 2.0
    assert derived_target([CellResult(steps=4)]) is None


def test_good_rates_are_within_one_percent_of_the_best() -> None:
    losses = {1e-3: 1.2, 1e-2: 1.004, 3e-2: 1.0, 1e-1: 1.009, 1.0: 1.02}
    assert good_rates([trial(y, x) for x, y in losses.items()]) == pytest.approx(10.0)
    assert math.isnan(good_rates([])) and math.isnan(good_rates([trial(1.0, diverged=True)]))


def test_the_effective_decay_is_the_product() -> None:
    assert summaries(found({"a": finals([1.0])}))[0].effective_decay == pytest.approx(0.2)


def test_scores_by_metric_prefer_the_higher() -> None:
    assert score([CellResult(loss=1.0, metric=0.9)], "metric") < score(
        [CellResult(loss=0.1, metric=0.8)], "metric"
    )


times = st.dictionaries(
    st.sampled_from("abc"),
    st.fixed_dictionaries({w: st.one_of(st.floats(0.1, 10), st.just(math.inf)) for w in "xyz"}),
    min_size=1,
)


@given(times)
def test_scores_are_the_area_under_the_profile(values: dict[str, dict[str, float]]) -> None:
    found = score_times(values)
    for name, of in values.items():

        def profile(tau: float, of: dict[str, float] = of) -> float:
            best = {w: min(t[w] for t in values.values()) for w in "xyz"}
            inside = [of[w] < math.inf and of[w] / best[w] <= tau for w in "xyz"]
            return sum(inside) / 3

        corners = [of[w] / min(t[w] for t in values.values()) for w in "xyz" if of[w] < math.inf]
        inner = [c for c in corners if 1 < c < 4] or None
        area, _ = integrate.quad(profile, 1, 4, points=inner, limit=200)
        assert found.scores[name] == pytest.approx(area / 3, abs=1e-3)
        shares = [share for _, share in found.profiles[name]]
        assert shares == sorted(shares)


def test_a_study_counts_by_its_best_and_studies_by_their_median() -> None:
    assert time_to_target([[5, 4], [math.inf, 1], [math.inf, math.inf]]) == 4
    assert time_to_target([[5, 4], [math.inf, math.inf], [math.inf, math.inf]]) == math.inf
