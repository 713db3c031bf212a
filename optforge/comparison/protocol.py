"""The protocol: tune, look beyond edges, choose on further seeds, measure on fresh ones.

1. Every recipe gets the same number of trials on the task, with one seed, on validation data.
2. If the best trial of any lies in the outer tenth of a range, that range grows, and every recipe
   gets the same number of further trials about its own best, so that nobody is tuned longer.
3. The best few of each are trained on further seeds; all runs together choose the setting. What
   is reported to lie at an edge is this setting.
4. The chosen settings are trained on fresh seeds, the same for all: same initial weights, same
   batches. These runs alone are reported; each measures test data once, after its last step.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from optforge.comparison.cells.cell import Cell, CellResult
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.variant import Variant
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.result import TaskResult, Trial, Tuned, score
from optforge.comparison.settings import ComparisonSettings
from optforge.comparison.space import Setting, Space
from optforge.errors import CompareError
from optforge.fitness.seeds import seeds as seeds_of

_TARGET_AT = 0.75  # share of the baseline's budget after which its loss is the derived target


def compare_on(
    variant: Variant,
    recipes: Sequence[Recipe],
    settings: ComparisonSettings,
    runner: Runner,
    baseline: str,
) -> TaskResult:
    """Compare all recipes on one task; what the table has is not computed again.

    Args:
        variant: The task.
        recipes: With the dimensions that are tuned.
        settings: How much of everything.
        runner: Answers cells.
        baseline: From whose curves a target is derived if the task names none.
    """
    tuned = _tune(variant, recipes, settings, runner)
    tuned = _grow(variant, tuned, settings, runner)
    tuned = _choose(variant, tuned, settings, runner)
    chosen = _seeds(settings, variant, "final", settings.seeds)
    tuned = _measure(variant, tuned, settings, runner, chosen)
    target = variant.task.target
    if target is None and baseline in tuned:
        target = derived_target(tuned[baseline].finals)
    derived = variant.task.target is None and target is not None
    return TaskResult(variant, tuned, chosen, target, derived)


def derived_target(finals: Sequence[CellResult]) -> float | None:
    """The median validation loss that runs have after three quarters of their steps.

    Args:
        finals: Runs of the baseline, with curves.

    Returns:
        The loss; None if there are no curves, or as long as a run has no result, since what it
        gives when it is tried again would move the target under runs that were stopped at it.
    """
    if any(outcome.failed for outcome in finals):
        return None
    losses = []
    for outcome in finals:
        if outcome.curve and not outcome.diverged:
            reached = [p[1] for p in outcome.curve if p[0] >= _TARGET_AT * outcome.steps]
            losses.append(reached[0])
    return statistics.median(losses) if losses else None


def _tune(
    variant: Variant, recipes: Sequence[Recipe], settings: ComparisonSettings, runner: Runner
) -> dict[str, Tuned]:
    drawn = {recipe.name: draw(recipe.space, settings) for recipe in recipes}
    trials = _trials(variant, drawn, settings, runner, "tuning", 0)
    return {
        recipe.name: Tuned(recipe.name, recipe.space, trials[recipe.name], (), None)
        for recipe in recipes
    }


def draw(space: Space, settings: ComparisonSettings) -> tuple[Setting, ...]:
    """The first trials of a recipe; a grid is filled up by quasi-random settings."""
    if settings.sampler == "grid":
        grid = space.grid(settings.trials)
        return grid + space.quasi_random(settings.trials - len(grid), settings.seed)
    return space.quasi_random(settings.trials, settings.seed)


def _trials(
    variant: Variant,
    drawn: Mapping[str, Sequence[Setting]],
    settings: ComparisonSettings,
    runner: Runner,
    purpose: str,
    number: int,
) -> dict[str, tuple[Trial, ...]]:
    """Train all settings of all recipes on the tuning seeds, as one batch of cells."""
    chosen = _seeds(settings, variant, "tune", settings.tune_seeds)
    found = train_all(variant, drawn, chosen, runner, purpose)
    return {
        name: tuple(
            Trial(setting, outcomes, number)
            for setting, outcomes in zip(drawn[name], rows, strict=True)
        )
        for name, rows in found.items()
    }


def train_all(
    variant: Variant,
    drawn: Mapping[str, Sequence[Setting]],
    chosen: Sequence[int],
    runner: Runner,
    purpose: str,
    template: Cell | None = None,
) -> dict[str, list[tuple[CellResult, ...]]]:
    """Train settings of several recipes on the same seeds.

    Args:
        variant: The task.
        drawn: Settings by recipe.
        chosen: Seeds.
        runner: Answers cells.
        purpose: For the display and the table.
        template: What the cells measure; a loss on validation data by default.

    Returns:
        For each recipe and setting the outcomes, seed by seed.
    """
    base = template or Cell(variant.label, "", (), 0)
    cells = [
        replace(base, task=variant.label, recipe=name, setting=setting, seed=seed)
        for name, settings in drawn.items()
        for setting in settings
        for seed in chosen
    ]
    outcomes = iter(runner.run(cells, purpose))
    return {
        name: [tuple(next(outcomes) for _ in chosen) for _ in settings]
        for name, settings in drawn.items()
    }


def _grow(
    variant: Variant, tuned: dict[str, Tuned], settings: ComparisonSettings, runner: Runner
) -> dict[str, Tuned]:
    """Let ranges grow at whose edge a best trial lies, and give every recipe the same trials."""
    for number in range(1, settings.extensions + 1):
        edges = {name: _edges(of, settings) for name, of in tuned.items()}
        if not any(edges.values()):
            skipped = settings.extensions + 1 - number
            count = skipped * settings.extra_trials * settings.tune_seeds * len(tuned)
            runner.progress.skip(variant.label, count)
            break
        tuned = {name: _extended(of, edges[name]) for name, of in tuned.items()}
        drawn = {name: _further(of, edges[name], settings, number) for name, of in tuned.items()}
        trials = _trials(variant, drawn, settings, runner, "looking beyond an edge", number)
        tuned = {name: replace(of, trials=of.trials + trials[name]) for name, of in tuned.items()}
    return tuned


def _edges(tuned: Tuned, settings: ComparisonSettings) -> dict[str, int]:
    best = best_trial(tuned.trials, settings.objective)
    return tuned.space.edges(best.setting) if best else {}


def _extended(tuned: Tuned, edges: Mapping[str, int]) -> Tuned:
    grown = tuple(dict.fromkeys((*tuned.grown, *edges)))
    return replace(tuned, space=tuned.space.extended(edges), grown=grown)


def _further(
    tuned: Tuned, edges: Mapping[str, int], settings: ComparisonSettings, number: int
) -> tuple[Setting, ...]:
    best = best_trial(tuned.trials, settings.objective)
    if best is None:  # nothing to refine: more of the whole space
        more = len(tuned.trials) + settings.extra_trials
        return tuned.space.quasi_random(more, settings.seed)[len(tuned.trials) :]
    box = tuned.space.around(best.setting, edges)
    return box.quasi_random(settings.extra_trials, settings.seed + number)


def best_trial(trials: Sequence[Trial], objective: str) -> Trial | None:
    """The trial with the lowest score; None if all diverged.

    Example:
        >>> trials = [Trial((), (CellResult(loss=loss),)) for loss in (2.0, 1.0)]
        >>> best_trial(trials, "loss")
        Trial(setting=(), outcomes=(CellResult(loss=1.0, ...
    """
    scores = [score(trial.outcomes, objective) for trial in trials]
    if not scores or not math.isfinite(min(scores)):
        return None
    return trials[scores.index(min(scores))]


def _choose(
    variant: Variant, tuned: dict[str, Tuned], settings: ComparisonSettings, runner: Runner
) -> dict[str, Tuned]:
    """Train the best few on further seeds, so that luck with one seed does not choose."""
    shortlist = {name: _shortlist(of, settings) for name, of in tuned.items()}
    again = _seeds(settings, variant, "choose", settings.again)
    drawn = {name: [trial.setting for trial in trials] for name, trials in shortlist.items()}
    most = min(settings.finalists, settings.trials + settings.extensions * settings.extra_trials)
    fewer = most * len(tuned) - sum(map(len, drawn.values()))
    runner.progress.skip(variant.label, fewer * settings.again)
    found = train_all(variant, drawn, again, runner, "choosing") if again else {}
    chosen = {}
    for name, of in tuned.items():
        more = found.get(name, [()] * len(shortlist[name]))
        finalists = tuple(
            replace(trial, outcomes=trial.outcomes + extra)
            for trial, extra in zip(shortlist[name], more, strict=True)
        )
        best = best_trial(finalists, settings.objective)
        # Where every finalist diverged on some seed, the best of the first trials has to do.
        best = best or best_trial(of.trials, settings.objective)
        setting = best.setting if best else None
        edges = tuple(of.space.edges(setting)) if setting is not None else ()
        chosen[name] = replace(of, finalists=finalists, best=setting, edges=edges)
    return chosen


def _shortlist(tuned: Tuned, settings: ComparisonSettings) -> tuple[Trial, ...]:
    finite = [t for t in tuned.trials if math.isfinite(score(t.outcomes, settings.objective))]
    ordered = sorted(finite, key=lambda trial: score(trial.outcomes, settings.objective))
    distinct = {trial.setting: trial for trial in reversed(ordered)}
    return tuple(reversed(distinct.values()))[: settings.finalists]


def _measure(
    variant: Variant,
    tuned: dict[str, Tuned],
    settings: ComparisonSettings,
    runner: Runner,
    chosen: Sequence[int],
) -> dict[str, Tuned]:
    """Train the chosen settings on fresh seeds, with curves, and with test data at the end."""
    template = Cell(variant.label, "", (), 0, curve=True, test=True, extras=settings.extras)
    drawn = {name: [of.best] for name, of in tuned.items() if of.best is not None}
    runner.progress.skip(variant.label, (len(tuned) - len(drawn)) * settings.seeds)
    found = train_all(variant, drawn, chosen, runner, "measuring", template)
    return {
        name: replace(of, finals=found[name][0]) if name in found else of
        for name, of in tuned.items()
    }


def _seeds(
    settings: ComparisonSettings, variant: Variant, purpose: str, count: int
) -> tuple[int, ...]:
    if count < 0:
        raise CompareError(f"{count} seeds make no sense; give 0 or more")
    return seeds_of(settings.seed, variant.task.name, f"compare {purpose}", count)
