"""The mean over tasks: one optimizer against the baseline, each task with the same weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from optforge.comparison.figures.arrivals import share_of_steps
from optforge.comparison.figures.pairs import ended, log_difference, verdict
from optforge.comparison.result import Findings, TaskResult
from optforge.statistics import Interval, holm, mean_interval_over_tasks


@dataclass(frozen=True)
class MeanPair:
    """One optimizer against the baseline in the mean over all tasks of a comparison.

    Args:
        recipe: Name of the recipe.
        baseline: Name of the baseline.
        tasks: Labels of the tasks.
        test_loss: Mean over tasks of the log ratio of test losses, paired by seed; below 0 the
            optimizer is better.
        final_steps: Log of the geometric mean of the shares of the baseline's steps after which the
            optimizer has the validation loss that the baseline ends with; None unless all its runs
            reach it on every task.
        least_seeds: Smallest number of pairs of runs on a task.
        adjusted: The p-value of the test loss after Holm's correction over the optimizers.

    Source: :func:`optforge.statistics.mean_interval_over_tasks`.
    """

    recipe: str
    baseline: str
    tasks: tuple[str, ...]
    test_loss: Interval
    final_steps: Interval | None
    least_seeds: int
    adjusted: float = math.nan

    @property
    def verdict(self) -> str:
        """One word, after correction: ``better``, ``worse``, ``undecided``, ``too few seeds``."""
        return verdict(self.test_loss.mean, self.adjusted, self.least_seeds)


def mean_pairs(findings: Findings) -> list[MeanPair]:
    """Compare every optimizer with the baseline in the mean over tasks.

    Returns:
        A mean for each optimizer with results on all tasks that the baseline has; none for a single
        task, or for variants of a task, over which no mean says anything.
    """
    based = [result for result in findings.tasks if findings.baseline in result.tuned]
    if len(based) < 2 or any(result.variant.axes for result in based):
        return []
    baseline = findings.baseline
    names = [name for name in based[0].tuned if name != baseline]
    pairs = [pair for name in names if (pair := _mean_pair(based, name, baseline)) is not None]
    adjusted = holm([pair.test_loss.p_value for pair in pairs]) if pairs else []
    return [replace(pair, adjusted=float(p)) for pair, p in zip(pairs, adjusted, strict=True)]


def _mean_pair(results: Sequence[TaskResult], name: str, baseline: str) -> MeanPair | None:
    runs = [ended(r, name, baseline) if name in r.tuned else [] for r in results]
    if not all(runs):
        return None
    shares = [[share_of_steps(a, b) for a, b in row] for row in runs]
    arrive = all(math.isfinite(share) for row in shares for share in row)
    return MeanPair(
        recipe=name,
        baseline=baseline,
        tasks=tuple(result.variant.label for result in results),
        test_loss=mean_interval_over_tasks([[log_difference(*p) for p in row] for row in runs]),
        final_steps=mean_interval_over_tasks([[math.log(s) for s in row] for row in shares])
        if arrive
        else None,
        least_seeds=min(map(len, runs)),
    )
