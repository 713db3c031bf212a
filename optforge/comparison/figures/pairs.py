"""Pairs of optimizers: one against the baseline on a task, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from optforge.comparison.cells.cell import CellResult
from optforge.comparison.figures.arrivals import arrival, share_of_steps
from optforge.comparison.result import Findings, TaskResult, log_loss
from optforge.statistics import Interval, holm, paired_interval

LEAST_SEEDS = 10  # fresh seeds from which on a difference is called one


@dataclass(frozen=True)
class Pair:
    """One optimizer against the baseline on one task, seed by seed.

    Args:
        task: Label of the task.
        recipe: Name of the recipe.
        baseline: Name of the baseline.
        test_loss: Log ratio of test losses; below 0 the optimizer is better.
        validation_loss: Log ratio of validation losses.
        test_metric: Difference of test metrics.
        steps: Log ratio of the steps to the target; None unless all runs of both reach it, since
            those that do would be a biased selection.
        arrived: Numbers of runs that reach the target, its own and the baseline's.
        final_steps: Log of the share of the baseline's steps after which the optimizer has the
            validation loss that the baseline ends with; None unless all its runs reach it.
        reached: Number of runs that do.
        adjusted: The p-value of the test loss after Holm's correction over all pairs of a report.
    """

    task: str
    recipe: str
    baseline: str
    test_loss: Interval
    validation_loss: Interval
    test_metric: Interval
    steps: Interval | None
    arrived: tuple[int, int]
    final_steps: Interval | None
    reached: int
    adjusted: float = math.nan

    @property
    def verdict(self) -> str:
        """One word, after correction: ``better``, ``worse`` or ``undecided``.

        With fewer than ten seeds nothing is claimed, and it is ``too few seeds``.
        """
        return verdict(self.test_loss.mean, self.adjusted, self.test_loss.count)


def verdict(mean: float, adjusted: float, seeds: int) -> str:
    """Return in a word what a difference from the baseline is worth.

    Args:
        mean: Mean log ratio of test losses.
        adjusted: Its p-value after correction.
        seeds: Number of fresh seeds behind it.

    Example:
        >>> verdict(-0.1, 0.001, 10), verdict(0.1, 0.2, 10), verdict(-0.1, 0.001, 3)
        ('better', 'undecided', 'too few seeds')
    """
    if seeds < LEAST_SEEDS:
        return "too few seeds"
    if not adjusted <= 0.05:
        return "undecided"
    return "better" if mean < 0 else "worse"


def log_difference(run: CellResult, baseline: CellResult) -> float:
    """Return the log ratio of two test losses; infinite if one diverged, NaN if both did."""
    logs = [math.inf if o.diverged else log_loss(o.test_loss) for o in (run, baseline)]
    return _minus(*logs)


def compare_pairs(findings: Findings) -> list[Pair]:
    """Compare every optimizer with the baseline on every task, with one Holm correction."""
    pairs = [
        pair(result, name, findings.baseline)
        for result in findings.tasks
        for name in result.tuned
        if name != findings.baseline
        and findings.baseline in result.tuned
        and ended(result, name, findings.baseline)
    ]
    if not pairs:
        return []
    adjusted = holm([p.test_loss.p_value for p in pairs])
    return [replace(p, adjusted=float(a)) for p, a in zip(pairs, adjusted, strict=True)]


def pair(result: TaskResult, name: str, baseline: str) -> Pair:
    """Compare the final runs of two optimizers, seed by seed.

    A run that diverged makes the difference of its pair infinite, and then nothing is claimed; the
    summary counts such runs. Pairs in which a run has no result are left out.
    """
    both_ended = ended(result, name, baseline)

    def interval(value: Callable[[CellResult], float]) -> Interval:
        return paired_interval([_minus(value(a), value(b)) for a, b in both_ended])

    steps = [(arrival(a, result.target), arrival(b, result.target)) for a, b in both_ended]
    both = [math.log(a / b) for a, b in steps if math.isfinite(a) and math.isfinite(b)]
    shares = [share_of_steps(a, b) for a, b in both_ended]
    reached = [math.log(share) for share in shares if math.isfinite(share)]
    return Pair(
        task=result.variant.label,
        recipe=name,
        baseline=baseline,
        test_loss=paired_interval([log_difference(a, b) for a, b in both_ended]),
        validation_loss=interval(lambda o: log_loss(o.loss) if not o.diverged else math.inf),
        test_metric=interval(lambda o: o.test_metric if not o.diverged else -math.inf),
        steps=paired_interval(both) if len(both) == len(both_ended) else None,
        arrived=(
            sum(math.isfinite(mine) for mine, _ in steps),
            sum(math.isfinite(theirs) for _, theirs in steps),
        ),
        final_steps=paired_interval(reached) if len(reached) == len(both_ended) else None,
        reached=len(reached),
    )


def ended(result: TaskResult, name: str, baseline: str) -> list[tuple[CellResult, CellResult]]:
    """Return the pairs of final runs of two optimizers in which both have a result."""
    finals, baseline_finals = result.tuned[name].finals, result.tuned[baseline].finals
    if not (finals and baseline_finals):
        return []
    return [
        (a, b) for a, b in zip(finals, baseline_finals, strict=True) if not (a.failed or b.failed)
    ]


def _minus(value: float, baseline: float) -> float:
    """Return a difference; NaN where both diverged, so that nothing is claimed."""
    return value - baseline if math.isfinite(value) or math.isfinite(baseline) else math.nan
