"""Paired tests and intervals: how sure a comparison is.

Two rules are compared on the same task with the same seeds (common random numbers), so that the
statistics here start from the differences of pairs, such as log loss ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from optforge.errors import OptforgeError


class StatisticsError(OptforgeError):
    """Numbers from which no interval or test can be computed."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval and the two-sided p-value of "the mean is zero".

    Args:
        mean: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p_value: Two-sided p-value of the Student-t test against a mean of zero.
        count: How many differences the estimate rests on.

    Example:
        >>> Interval(mean=-0.2, low=-0.3, high=-0.1, p_value=0.001, count=10).high < 0
        True
    """

    mean: float
    low: float
    high: float
    p_value: float
    count: int

    def scaled(self, factor: float) -> Interval:
        """Return the interval of the mean in another unit, or of the opposite difference.

        Args:
            factor: What the differences are multiplied by; not 0.

        Example:
            >>> Interval(-0.25, -0.5, 0.0, 0.05, 10).scaled(-100)
            Interval(mean=25.0, low=-0.0, high=50.0, p_value=0.05, count=10)
        """
        low, high = sorted((factor * self.low, factor * self.high))
        return replace(self, mean=factor * self.mean, low=low, high=high)


def paired_interval(differences: ArrayLike, confidence: float = 0.95) -> Interval:
    r"""Compute the Student-t interval and test for the mean of paired differences.

    With mean `d`, sample standard deviation `s` and `n` pairs, the interval is
    `d ± t_{(1 + confidence) / 2, n - 1} s / sqrt(n)` and the p-value that of `d / (s / sqrt(n))`.

    What cannot be known is not claimed: a single pair, or a difference that is not finite (a run
    that diverged), gives the whole line as the interval and a p-value of 1.

    Args:
        differences: Shape [pairs], at least one.
        confidence: Probability of covering the true mean, above 0 and below 1.

    Returns:
        The interval; `count` is the number of pairs.

    Raises:
        StatisticsError: If there are no differences, or `confidence` is out of range.

    Example:
        >>> interval = paired_interval([1.0, 2.0, 3.0])
        >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
        (-0.484, 2.0, 4.484)

    Source:
        Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    return mean_interval_over_tasks([np.asarray(differences, dtype=np.float64)], confidence)


def mean_interval_over_tasks(
    matrix: Sequence[ArrayLike] | NDArray[np.float64], confidence: float = 0.95
) -> Interval:
    r"""Compute the interval of the equal-weighted mean over tasks of the mean over seeds.

    Task `k` of `K` has `n_k` differences with mean `d_k` and sample variance `s_k^2`. Tasks are
    independent and need not be equally noisy, so with `v_k = s_k^2 / n_k`

        mean = sum_k d_k / K,    standard error = sqrt(sum_k v_k) / K,
        degrees of freedom = (sum_k v_k)^2 / sum_k (v_k^2 / (n_k - 1)).

    The claim is about these tasks, not about a population that they were drawn from. One task is
    the paired Student-t interval, and what is said there of unknowable spreads holds here.

    Args:
        matrix: Shape [tasks, seeds], or a sequence of rows of different lengths.
        confidence: Probability of covering the true mean, above 0 and below 1.

    Returns:
        The interval; `count` is the number of differences over all tasks.

    Raises:
        StatisticsError: If there are no tasks, a task has no differences, or `confidence` is out
            of range.

    Example:
        >>> interval = mean_interval_over_tasks([[-0.3, -0.2, -0.4], [-0.1, -0.1, -0.2]])
        >>> round(interval.low, 3), round(interval.mean, 3), round(interval.high, 3)
        (-0.319, -0.217, -0.114)

    Source:
        Satterthwaite, "An approximate distribution of estimates of variance components",
        Biometrics Bulletin 2 (1946); Welch, Biometrika 34 (1947).
    """
    if not 0 < confidence < 1:
        raise StatisticsError(
            f"confidence={confidence!r} is not between 0 and 1; give a share such as 0.95"
        )
    rows = [_checked_row(row) for row in matrix]
    if not rows:
        raise StatisticsError("there are no tasks to average over; give at least one row")
    count = sum(row.size for row in rows)
    with np.errstate(invalid="ignore"):  # inf - inf: NaN is the right mean of diverged runs
        mean = float(np.mean([row.mean() for row in rows]))
    if not np.isfinite(mean) or any(row.size < 2 for row in rows):
        return Interval(mean, -np.inf, np.inf, 1.0, count)
    error, freedom = _welch_satterthwaite(rows)
    if error == 0:  # all differences of a task are equal
        return Interval(mean, mean, mean, 0.0 if mean else 1.0, count)
    half = float(special.stdtrit(freedom, (1 + confidence) / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(mean) / error))
    return Interval(mean, mean - half, mean + half, p_value, count)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    r"""Apply Holm's step-down correction of p-values for many comparisons.

    With the `m` p-values in ascending order, the adjusted value of the i-th is
    `max_{j <= i} min(1, (m - j + 1) p_(j))`. Calling significant what is adjusted to at most
    `alpha` keeps the chance of any false claim below `alpha`, however the tests depend on
    each other.

    Args:
        p_values: Shape [tests], each from 0 to 1.

    Returns:
        The adjusted p-values, float64, in the order in which they came.

    Raises:
        StatisticsError: If the shape is not [tests] or a value lies outside 0 to 1.

    Example:
        >>> [round(float(p), 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]

    Source:
        Holm, "A simple sequentially rejective multiple test procedure",
        Scandinavian Journal of Statistics 6 (1979).
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1:
        raise StatisticsError(f"p-values have shape {values.shape}; give one dimension: [tests]")
    if not np.all((values >= 0) & (values <= 1)):
        raise StatisticsError(f"p-values must lie from 0 to 1; got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def _checked_row(differences: ArrayLike) -> NDArray[np.float64]:
    row = np.asarray(differences, dtype=np.float64)
    if row.ndim != 1 or row.size == 0:
        raise StatisticsError(
            f"differences have shape {row.shape}; give one dimension with at least one number"
        )
    return row


def _welch_satterthwaite(rows: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the standard error of the mean of task means, and its degrees of freedom."""
    variances = np.array([row.var(ddof=1) / row.size for row in rows])
    total = variances.sum()
    if total == 0:
        return 0.0, np.inf
    shares = variances / total  # divided first, so that squares neither overflow nor vanish
    freedom = 1 / np.sum(shares**2 / np.array([row.size - 1 for row in rows]))
    return float(np.sqrt(total) / len(rows)), float(freedom)
