"""Intervals and tests against SciPy's own, and by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from optforge.statistics import (
    Interval,
    StatisticsError,
    holm,
    mean_interval_over_tasks,
    paired_interval,
)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("count", [2, 3, 10, 200])
@pytest.mark.parametrize("shift", [0.0, -0.4, 1e6])
def test_paired_interval_is_scipys(count: int, confidence: float, shift: float) -> None:
    first, second = np.random.default_rng(count).normal(size=(2, count))
    first = first + shift
    got = paired_interval(first - second, confidence)
    paired = stats.ttest_rel(first, second)
    single = stats.ttest_1samp(first - second, 0.0)
    expected = single.confidence_interval(confidence)
    assert got.mean == pytest.approx(np.mean(first - second), rel=1e-12)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)
    assert got.p_value == pytest.approx(paired.pvalue, rel=1e-9, abs=1e-300)
    assert got.p_value == pytest.approx(single.pvalue, rel=1e-9, abs=1e-300)
    assert got.count == count


def test_two_tasks_are_welchs_test_of_one_against_the_other_mirrored() -> None:
    # mean(a) + mean(b) = mean(a) - mean(-b): SciPy's Welch test of a against -b, halved.
    generator = np.random.default_rng(0)
    first, second = generator.normal(-0.3, 1.0, 7), generator.normal(-0.1, 5.0, 12)
    got = mean_interval_over_tasks([first, second])
    welch = stats.ttest_ind(first, -second, equal_var=False)
    expected = welch.confidence_interval(0.95)
    assert got.p_value == pytest.approx(welch.pvalue, rel=1e-12)
    assert got.low == pytest.approx(expected.low / 2, rel=1e-12)
    assert got.high == pytest.approx(expected.high / 2, rel=1e-12)
    assert got.count == 19


def test_equally_noisy_tasks_pool_their_degrees_of_freedom() -> None:
    rows = np.array([[-1.0, 0.0, 1.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    got = mean_interval_over_tasks(rows)
    half = stats.t.ppf(0.975, 6) * math.sqrt(3 * (1 / 3)) / 3
    assert got.mean == pytest.approx(7 / 3)
    assert got.high - got.mean == pytest.approx(half, rel=1e-12)


def test_a_task_counts_once_however_many_seeds_it_has() -> None:
    got = mean_interval_over_tasks([[1.0, 3.0], [10.0] * 50 + [12.0] * 50])
    assert got.mean == pytest.approx(6.5)


def test_scaling_the_differences_scales_the_interval() -> None:
    rows = np.random.default_rng(3).normal(-0.2, 1, (3, 8))
    small, large = mean_interval_over_tasks(rows), mean_interval_over_tasks(rows * 1e100)
    assert large.p_value == pytest.approx(small.p_value, rel=1e-9)
    assert large.low == pytest.approx(small.low * 1e100, rel=1e-9)


def covered(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([interval.low <= truth <= interval.high for interval in intervals]))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_paired_intervals_cover_as_often_as_they_say(confidence: float) -> None:
    samples = np.random.default_rng(1).normal(0.3, 2.0, (2000, 6))
    intervals = [paired_interval(sample, confidence) for sample in samples]
    # One standard error of the share is 0.9 % at 80 % and 0.5 % at 95 %.
    tolerance = 0.015 if confidence == 0.95 else 0.027
    assert covered(intervals, 0.3) == pytest.approx(confidence, abs=tolerance)


def test_intervals_over_unequal_tasks_cover_as_often_as_they_say() -> None:
    means, spreads = np.array([[-0.5], [0.1], [1.0]]), np.array([[0.1], [1.0], [3.0]])
    samples = np.random.default_rng(2).normal(means, spreads, (2000, 3, 10))
    intervals = [mean_interval_over_tasks(sample) for sample in samples]
    assert covered(intervals, 0.2) == pytest.approx(0.95, abs=0.015)


def test_p_value_and_interval_agree_about_zero() -> None:
    for sample in np.random.default_rng(4).normal(0.7, 1.0, (200, 3, 5)):
        interval = mean_interval_over_tasks(sample)
        assert (interval.low > 0 or interval.high < 0) == (interval.p_value < 0.05)


@pytest.mark.parametrize("value", [-0.25, 0.0, 3.0])
def test_equal_differences_leave_no_doubt(value: float) -> None:
    expected = Interval(value, value, value, 1.0 if value == 0 else 0.0, 4)
    assert paired_interval([value] * 4) == expected


@pytest.mark.parametrize(
    "differences", [[1.0], [1.0, math.inf], [math.inf, -math.inf], [1.0, math.nan, 2.0]]
)
def test_what_cannot_be_known_is_not_claimed(differences: list[float]) -> None:
    interval = paired_interval(differences)
    assert (interval.low, interval.high, interval.p_value) == (-math.inf, math.inf, 1.0)
    assert interval.low <= 0 <= interval.high
    whole = mean_interval_over_tasks([[-1.0, -1.1, -1.2], differences])
    assert whole.low <= 0 <= whole.high


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_holm_is_the_closed_test_of_bonferroni(size: int) -> None:
    # Oracle: reject i when Bonferroni rejects every intersection of hypotheses that contains i.
    p_values = np.random.default_rng(size).beta(0.4, 3.0, size)
    subsets = [s for n in range(1, size + 1) for s in itertools.combinations(range(size), n)]
    for i, got in enumerate(holm(p_values)):
        bounds = [min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s]
        assert got == pytest.approx(max(bounds), rel=1e-12)


def test_holm_of_ties_extremes_and_nothing() -> None:
    assert holm([0.5, 0.5, 0.5]).tolist() == [1.0, 1.0, 1.0]
    assert holm([1.0, 0.0]).tolist() == [1.0, 0.0]
    assert holm([]).tolist() == []


@pytest.mark.parametrize("p_values", [[-0.1], [1.1], [math.nan], [[0.1, 0.2]]])
def test_holm_refuses_what_is_no_list_of_p_values(p_values: list[float]) -> None:
    with pytest.raises(StatisticsError, match="p-values"):
        holm(p_values)


@pytest.mark.parametrize("differences", [[], [[1.0, 2.0]]])
def test_differences_of_a_wrong_shape_are_refused(differences: list[float]) -> None:
    with pytest.raises(StatisticsError, match="one dimension"):
        paired_interval(differences)


def test_no_tasks_and_no_confidence_are_refused() -> None:
    with pytest.raises(StatisticsError, match="at least one row"):
        mean_interval_over_tasks([])
    for confidence in (0.0, 1.0, 95, math.nan):
        with pytest.raises(StatisticsError, match="confidence"):
            paired_interval([1.0, 2.0], confidence)
