"""From runs to figures: paired intervals, steps to a target, sensitivity, cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optforge.comparison.cells.cell import CellResult
from optforge.comparison.result import Findings, TaskResult, Trial, TunedSetting, score
from optforge.statistics import Interval, paired_interval
from optforge.tuning import Setting

_WIDTH = math.log(1.01)  # a learning rate counts as good within one percent of the best loss


@dataclass(frozen=True)
class Summary:
    """One optimizer on one task, on its own.

    Args:
        task: Label of the task.
        recipe: Name of the recipe.
        best: The chosen setting; None if every trial diverged or has no result.
        effective_decay: Learning rate times weight decay of that setting; NaN without decay.
        test_loss: Mean test loss over the final runs, with its interval.
        test_metric: Mean test metric, with its interval.
        validation_loss: Mean validation loss, with its interval.
        trials: Number of settings that were tried.
        diverged_trials: Number of trials that diverged.
        runs: Number of final runs.
        diverged_runs: Number of final runs that diverged.
        failed_trials: Number of trials without a result, because a process died or took too long.
        failed_runs: Number of final runs without a result; they are left out of all means and
            pairs.
        grown: Names of the ranges that were extended.
        edges: Names of the ranges in whose outer tenth the chosen setting lies.
        good_rates: Factor between the lowest and the highest rate of the curve within one percent
            of its best loss; NaN without a curve.
        step_ms: Median milliseconds of a step.
        seconds: Sum over all its runs.
        optimizer_bytes: Size of the optimizer's states in bytes.
        peak_mb: Median growth of memory in MB.
    """

    task: str
    recipe: str
    best: Setting | None
    effective_decay: float
    test_loss: Interval | None
    test_metric: Interval | None
    validation_loss: Interval | None
    trials: int
    diverged_trials: int
    runs: int
    diverged_runs: int
    grown: tuple[str, ...]
    edges: tuple[str, ...]
    good_rates: float
    step_ms: float
    seconds: float
    optimizer_bytes: int
    peak_mb: float
    failed_trials: int = 0
    failed_runs: int = 0


def summaries(findings: Findings) -> list[Summary]:
    """Summarize each optimizer on each task on its own."""
    return [
        summarise(result, tuned) for result in findings.tasks for tuned in result.tuned.values()
    ]


def summarise(result: TaskResult, tuned: TunedSetting) -> Summary:
    """Summarize one optimizer on one task."""
    values = dict(tuned.best or ())
    decay = values.get("lr", math.nan) * values.get("weight_decay", math.nan)
    runs = every_run(tuned)
    return Summary(
        task=result.variant.label,
        recipe=tuned.recipe,
        best=tuned.best,
        effective_decay=decay,
        test_loss=_mean(tuned.finals, lambda o: o.test_loss),
        test_metric=_mean(tuned.finals, lambda o: o.test_metric),
        validation_loss=_mean(tuned.finals, lambda o: o.loss),
        trials=len(tuned.trials),
        diverged_trials=tuned.diverged_trials,
        runs=len(tuned.finals),
        diverged_runs=tuned.diverged_finals,
        grown=tuned.grown,
        edges=tuned.edges,
        good_rates=good_rates(tuned.sensitivity),
        step_ms=_median(o.step_ms for o in runs),
        seconds=sum(o.seconds for o in runs if math.isfinite(o.seconds)),
        optimizer_bytes=max((o.optimizer_bytes for o in runs), default=0),
        peak_mb=_median(o.peak_mb for o in tuned.finals),
        failed_trials=tuned.failed_trials,
        failed_runs=tuned.failed_finals,
    )


def every_run(tuned: TunedSetting) -> list[CellResult]:
    """Return all runs of one optimizer on one task, without duplicates of finalists."""
    first = {t.setting: t for t in tuned.trials} | {t.setting: t for t in tuned.finalists}
    trials = [*first.values(), *tuned.sensitivity, *tuned.heat_map]
    runs = [o for trial in trials for o in trial.outcomes]
    return [*runs, *tuned.finals, *(o for study in tuned.studies for o in study)]


def good_rates(curve: Sequence[Trial]) -> float:
    """Return the ratio of highest to lowest learning rate within one percent of the best loss.

    Args:
        curve: Trials that differ only in ``lr``.

    Returns:
        The ratio; 1.0 if only one rate is good; NaN without a curve or if it diverged.
    """
    points = [(dict(t.setting)["lr"], score(t.outcomes, "loss")) for t in curve]
    best = min((value for _, value in points), default=math.inf)
    if not math.isfinite(best):
        return math.nan
    good = [rate for rate, value in points if value <= best + _WIDTH]
    return max(good) / min(good)


def best_so_far(trials: Sequence[Trial], objective: str = "loss") -> list[float]:
    r"""Return the expected best score among k of the trials, for k = 1 to all of them.

    With the scores in ascending order, the i-th (from 1) is the best of a random subset of k of n
    with probability :math:`\binom{n - i}{k - 1} / \binom{n}{k}`.

    Returns:
        The expected score for each k. A trial that diverged counts as the worst finite score, which
        is the most favorable finite value for it. Trials without a result are left out.

    Source: Dodge et al., Show Your Work, 2019; Choi et al., On Empirical Comparisons of
        Optimizers for Deep Learning, 2019.

    Example:
        >>> trials = [Trial((), (CellResult(loss=math.exp(x)),)) for x in (3.0, 1.0, 2.0)]
        >>> [round(value, 3) for value in best_so_far(trials)]
        [2.0, 1.333, 1.0]
    """
    known = [trial.outcomes for trial in trials if not any(o.failed for o in trial.outcomes)]
    scores = np.array([score(outcomes, objective) for outcomes in known])
    finite = scores[np.isfinite(scores)]
    if not finite.size:
        return []
    ordered = np.sort(np.where(np.isfinite(scores), scores, finite.max()))
    n = len(ordered)
    return [
        float(sum(ordered[i] * math.comb(n - i - 1, k - 1) for i in range(n)) / math.comb(n, k))
        for k in range(1, n + 1)
    ]


def _mean(outcomes: Sequence[CellResult], value: Callable[[CellResult], float]) -> Interval | None:
    values = [value(o) for o in outcomes if not o.failed]
    return paired_interval(values) if values else None


def _median(values: Any) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan
