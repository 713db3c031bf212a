"""The third ruleset: one setting for all tasks, by the steps to the loss of a tuned baseline.

Source: after the optimizer design task of FrontierSWE, 2026: one optimizer with one setting on a
set of workloads, steps to the final loss of AdamW tuned per workload, a mean with capped credit.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optforge.comparison.cells.cell import Cell, CellResult
from optforge.comparison.cells.runner import Runner
from optforge.comparison.figures.arrivals import arrival
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.result import TaskResult, log_loss
from optforge.comparison.settings import ComparisonSettings
from optforge.fitness.seeds import seeds
from optforge.statistics import Interval, mean_interval_over_tasks
from optforge.tuning import Setting

CAP = 4.0  # the largest credit of a run, and the inverse of the smallest


@dataclass(frozen=True)
class OneSetting:
    """An optimizer with one setting on all tasks.

    Args:
        recipe: Name of the recipe.
        setting: The setting; None if every one failed on some task.
        trials: Number of settings that were tried.
        credits: Log credit of each run on fresh seeds, by task.
        arrived: Number of runs that reached the loss, and of all runs.
    """

    recipe: str
    setting: Setting | None
    trials: int
    credits: Mapping[str, tuple[float, ...]]
    arrived: tuple[int, int]

    @property
    def speed(self) -> Interval | None:
        """Log of the geometric mean of the credits over tasks; None without runs."""
        rows = [row for row in self.credits.values() if row]
        return mean_interval_over_tasks(rows) if rows else None


def log_credit(outcome: CellResult, target: float, steps: int) -> float:
    """Return the log of how many times sooner than the whole budget a run reaches a loss.

    It is at most the log of :data:`CAP`, and minus that if the loss is never reached, so that one
    task decides neither for nor against an optimizer alone.

    Example:
        >>> run = CellResult(curve=((10, 0.9), (50, 0.4)))
        >>> [round(math.exp(log_credit(run, target, 100)), 3) for target in (0.5, 0.95, 0.1)]
        [2.0, 4.0, 0.25]
    """
    taken = math.inf if outcome.diverged else arrival(outcome, target)
    if not math.isfinite(taken):
        return -math.log(CAP)
    return min(math.log(CAP), math.log(steps / taken))


def final_losses(results: Sequence[TaskResult], baseline: str) -> dict[str, float]:
    """Return the median validation loss that the baseline, tuned for each task, ends with.

    Tasks on which a run of it diverged or has no result are left out.
    """
    finals = {result.variant.label: result.tuned[baseline].finals for result in results}
    return {
        label: statistics.median(run.loss for run in runs)
        for label, runs in finals.items()
        if runs and not any(run.diverged or run.failed for run in runs)
    }


def one_setting(
    results: Sequence[TaskResult],
    recipes: Sequence[Recipe],
    settings: ComparisonSettings,
    runner: Runner,
    baseline: str,
) -> tuple[OneSetting, ...]:
    """Choose one setting of each recipe for all tasks and measure it on fresh seeds.

    Each recipe tries as many settings, drawn from its own space, on every task with one seed. The
    one with the highest mean log credit is trained on the fresh seeds of the comparison.

    Args:
        results: Results of all tasks, whose baseline's losses are the targets.
        recipes: The recipes.
        settings: Settings of the comparison; nothing is run if ``one_setting`` is 0.
        runner: Answers the cells.
        baseline: Name of the recipe that sets the targets.
    """
    if not settings.one_setting:
        return ()
    targets = final_losses(results, baseline)
    reached = [result for result in results if result.variant.label in targets]
    for result in results:
        if result not in reached:
            runs = len(recipes) * (settings.one_setting + settings.seeds)
            runner.progress.skip(result.variant.label, runs)
    if not reached:
        return ()
    chosen = _choose(reached, recipes, settings, runner, targets)
    return _measure(reached, chosen, settings, runner, targets)


def _choose(
    results: Sequence[TaskResult],
    recipes: Sequence[Recipe],
    settings: ComparisonSettings,
    runner: Runner,
    targets: Mapping[str, float],
) -> dict[str, Setting | None]:
    """Return the best setting of each recipe; of equal credits, that with the lowest losses."""
    (scramble,) = seeds(settings.seed, "any task", "compare one setting", 1)
    drawn = {r.name: r.space.quasi_random(settings.one_setting, scramble) for r in recipes}
    tuning = {
        result.variant.label: seeds(
            settings.seed, result.variant.task.name, "compare one setting", 1
        )
        for result in results
    }
    pairs = [(recipe.name, setting) for recipe in recipes for setting in drawn[recipe.name]]
    runs = _train(results, pairs, tuning, runner, "one setting for all tasks")
    scores: dict[str, list[tuple[float, float, Setting]]] = {}
    for (name, setting), by_task in zip(pairs, runs, strict=True):
        scores.setdefault(name, []).append((*_score(results, by_task, targets), setting))
    best = {name: min(rows) for name, rows in scores.items()}
    return {name: s if math.isfinite(credit) else None for name, (credit, _, s) in best.items()}


def _score(
    results: Sequence[TaskResult],
    by_task: Mapping[str, Sequence[CellResult]],
    targets: Mapping[str, float],
) -> tuple[float, float]:
    """Return the negative mean log credit, and the mean log loss; infinite without a result."""
    runs = {label: outcomes[0] for label, outcomes in by_task.items()}
    if any(run.failed for run in runs.values()):
        return math.inf, math.inf
    credits = [
        log_credit(runs[r.variant.label], targets[r.variant.label], r.variant.task.steps)
        for r in results
    ]
    losses = [math.inf if run.diverged else log_loss(run.loss) for run in runs.values()]
    return -statistics.mean(credits), sum(losses) / len(losses)


def _measure(
    results: Sequence[TaskResult],
    chosen: Mapping[str, Setting | None],
    settings: ComparisonSettings,
    runner: Runner,
    targets: Mapping[str, float],
) -> tuple[OneSetting, ...]:
    pairs = [(name, setting) for name, setting in chosen.items() if setting is not None]
    fresh = {result.variant.label: result.seeds for result in results}
    runs = dict(zip(pairs, _train(results, pairs, fresh, runner, "one setting, fresh seeds"),
                    strict=True))  # fmt: skip
    rows = []
    for name, setting in chosen.items():
        by_task = {} if setting is None else runs[name, setting]
        credits, arrived, count = {}, 0, 0
        for result in results if by_task else ():
            label, steps = result.variant.label, result.variant.task.steps
            known = [run for run in by_task[label] if not run.failed]
            credits[label] = tuple(log_credit(run, targets[label], steps) for run in known)
            arrived += sum(credit > -math.log(CAP) for credit in credits[label])
            count += len(known)
        rows.append(OneSetting(name, setting, settings.one_setting, credits, (arrived, count)))
    return tuple(rows)


def _train(
    results: Sequence[TaskResult],
    pairs: Sequence[tuple[str, Setting]],
    chosen: Mapping[str, Sequence[int]],
    runner: Runner,
    purpose: str,
) -> list[dict[str, list[CellResult]]]:
    """Train settings of recipes on all tasks, to the end, and return the runs of each by task."""
    cells = [
        Cell(result.variant.label, name, setting, seed, curve=True)
        for name, setting in pairs
        for result in results
        for seed in chosen[result.variant.label]
    ]
    outcomes = iter(runner.run(cells, purpose))
    return [
        {
            result.variant.label: [next(outcomes) for _ in chosen[result.variant.label]]
            for result in results
        }
        for _ in pairs
    ]
