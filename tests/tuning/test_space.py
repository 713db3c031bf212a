"""Spaces: what is drawn lies in the ranges, and ranges grow where they should."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.errors import CompareError
from optforge.tuning import Dimension, Space, dimensions_from, drawn_value, setting_of

LR = Dimension("lr", 1e-4, 1e-1)
DECAY = Dimension("weight_decay", 1e-3, 1.0)
BETA = Dimension("one_minus_beta1", 0.02, 0.5, floor=1e-5, ceiling=1.0)
SPACE = Space((LR, DECAY, BETA))


def test_quasi_random_settings_lie_in_the_ranges_and_cover_them() -> None:
    drawn = SPACE.quasi_random(64, seed=3)
    for dimension in SPACE.dimensions:
        positions = [dimension.position(drawn_value(dimension.name, s)) for s in drawn]
        assert all(-1e-6 <= p <= 1 + 1e-6 for p in positions)
        # A Sobol sequence of 64 points has exactly four in each sixteenth of every axis.
        counts = [sum(n <= 16 * p < n + 1 for p in positions) for n in range(16)]
        assert counts == [4] * 16


def test_more_trials_begin_with_the_fewer_and_another_seed_draws_others() -> None:
    assert SPACE.quasi_random(9, 0)[:5] == SPACE.quasi_random(5, 0)
    assert set(SPACE.quasi_random(5, 0)).isdisjoint(SPACE.quasi_random(5, 1))


@given(st.integers(1, 200))
def test_a_grid_never_has_more_settings_than_asked_for(count: int) -> None:
    drawn = SPACE.grid(count)
    assert 1 <= len(drawn) <= count
    assert len(set(drawn)) == len(drawn)
    sizes = [len({drawn_value(d.name, s) for s in drawn}) for d in SPACE.dimensions]
    assert math.prod(sizes) == len(drawn)
    assert sizes == sorted(sizes, reverse=True)


def test_a_grid_has_its_values_inside_of_the_range() -> None:
    rates = sorted({dict(s)["lr"] for s in SPACE.grid(27)})
    assert rates == pytest.approx([10**-3.5, 10**-2.5, 10**-1.5], rel=1e-5)


@pytest.mark.parametrize(
    ("lr", "side"), [(1.5e-4, -1), (2.1e-4, 0), (4.9e-2, 0), (5.1e-2, 1), (1e-1, 1)]
)
def test_the_outer_tenth_of_a_logarithmic_range_is_an_edge(lr: float, side: int) -> None:
    setting = setting_of({"lr": lr, "weight_decay": 0.03, "one_minus_beta1": 0.1})
    assert SPACE.edges(setting) == ({"lr": side} if side else {})


def test_a_range_does_not_grow_past_its_ceiling() -> None:
    full = Space((Dimension("one_minus_beta1", 0.02, 1.0, ceiling=1.0),))
    assert full.edges(setting_of({"one_minus_beta1": 0.99})) == {}
    grown = SPACE.extended({"one_minus_beta1": 1}).dimensions[2]
    assert grown.high == 1.0 and grown.low == BETA.low


def test_an_extension_is_half_the_range_and_leaves_the_other_end() -> None:
    grown = SPACE.extended({"lr": -1, "weight_decay": 1})
    low, high = grown.dimensions[0], grown.dimensions[1]
    assert (low.low, low.high) == pytest.approx((10**-5.5, 1e-1), rel=1e-5)
    assert (high.low, high.high) == pytest.approx((1e-3, 10**1.5), rel=1e-5)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([-1, 0, 1]))
def test_a_box_holds_its_middle_and_reaches_the_end_at_an_edge(
    first: float, second: float, side: int
) -> None:
    values = {"lr": LR.value(first), "weight_decay": DECAY.value(second), "one_minus_beta1": 0.1}
    edges = {"lr": side} if side else {}
    box = SPACE.around(setting_of(values), edges)
    for inner, outer in zip(box.dimensions, SPACE.dimensions, strict=True):
        assert outer.low * (1 - 1e-9) <= inner.low < inner.high <= outer.high * (1 + 1e-9)
    assert box.dimensions[0].low <= values["lr"] * 1.001
    if side:
        end = box.dimensions[0].high if side > 0 else box.dimensions[0].low
        assert end == pytest.approx(LR.high if side > 0 else LR.low)


def test_complements_are_resolved() -> None:
    setting = setting_of({"one_minus_beta1": 0.0123456789, "lr": 0.1})
    assert dict(setting)["beta1"] == pytest.approx(1 - 0.0123457, abs=1e-12)
    assert drawn_value("one_minus_beta1", setting) == pytest.approx(0.0123457)


def test_only_takes_betas_together() -> None:
    both = Space((LR, BETA, Dimension("one_minus_beta2", 0.001, 0.3)))
    assert both.only(["lr"]).names == ("lr",)
    assert both.only(["betas"]).names == ("one_minus_beta1", "one_minus_beta2")


@pytest.mark.parametrize("ranges", [{"lr": [1e-2, 1e-4]}, {"lr": [0.0, 1.0]}, {"lr": 3.0}])
def test_impossible_ranges_are_refused_by_name(ranges: dict) -> None:
    with pytest.raises(CompareError, match="range of lr"):
        dimensions_from(ranges)
