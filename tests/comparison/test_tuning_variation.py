"""The luck of the tuning against an enumeration of all halves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.comparison.cells.cell import CellResult
from optforge.comparison.figures.tuning_variation import differences
from optforge.comparison.result import Trial

LOSSES = st.lists(st.sampled_from([0.1, 0.3, 0.5, 1.0, 2.0, math.inf]), min_size=4, max_size=7)


def tried(losses: Sequence[float]) -> list[Trial]:
    return [Trial((), (CellResult(loss=x, diverged=math.isinf(x)),)) for x in losses]


def bests(losses: Sequence[float]) -> list[float]:
    """The best log loss of every half, written down one by one."""
    halves = itertools.combinations(losses, len(losses) // 2)
    return [min(math.log(x) if x < math.inf else math.inf for x in half) for half in halves]


@given(LOSSES, LOSSES)
def test_all_pairs_of_halves_are_counted(one: list[float], other: list[float]) -> None:
    pairs = itertools.product(bests(one), bests(other))
    apart = sorted(0.0 if math.isinf(a) and math.isinf(b) else a - b for a, b in pairs)
    ahead = sum(1.0 if x < 0 else 0.5 if x == 0 else 0.0 for x in apart) / len(apart)
    told = differences(tried(one), tried(other))
    assert told is not None
    middle, low, high, share = told
    assert share == pytest.approx(ahead, abs=1e-12)
    assert low <= middle <= high
    for value, wanted in ((low, 0.025), (middle, 0.5), (high, 0.975)):
        below = sum(x < value - 1e-9 for x in apart) / len(apart)
        up_to = sum(x <= value + 1e-9 for x in apart) / len(apart)
        assert below <= wanted + 1e-9 and up_to >= wanted - 1e-9


def test_three_trials_are_too_few_and_those_without_result_do_not_count() -> None:
    lost = Trial((), (CellResult(failed="killed"),))
    assert differences(tried([1.0] * 3), tried([1.0] * 8)) is None
    assert differences([*tried([1.0] * 3), lost], tried([1.0] * 8)) is None


def test_a_clear_difference_is_ahead_in_all_halves_and_luck_is_not() -> None:
    rng = np.random.default_rng(0)
    near = np.exp(rng.normal(0, 0.3, (2, 16)))
    clear = differences(tried(0.01 * near[0]), tried(near[1]))
    even = differences(tried(near[0]), tried(near[1]))
    assert clear is not None and clear[3] == pytest.approx(1) and clear[2] < 0
    assert even is not None and 0.05 < even[3] < 0.95 and even[1] < 0 < even[2]


def test_trials_that_refine_the_best_are_no_draws() -> None:
    later = [Trial((), (CellResult(loss=1e-3),), round=1)]
    even = differences([*tried([1.0] * 4), *later], tried([1.0] * 4))
    assert even == (0.0, 0.0, 0.0, 0.5)
