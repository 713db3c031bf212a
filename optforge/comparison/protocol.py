"""The protocol: tune, look beyond edges, choose on further seeds, measure on fresh ones.

1. Every recipe gets the same number of trials on the task, with one seed, on validation data.
2. If any recipe's best trial lies in the outer tenth of a range, that range grows, and every recipe
   gets the same number of further trials around its own best, so that none is tuned more.
3. The best few settings of each recipe are trained on further seeds; all runs together choose the
   setting. Reports of a setting at an edge refer to this choice.
4. The chosen settings are trained on fresh seeds, the same for all: same initial weights, same
   batches. Only these runs are reported; each measures test data once, after its last step.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optforge import tuning
from optforge.comparison.cells.cell import Cell, CellResult
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.variant import Variant
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.result import TaskResult, Trial, TunedSetting, score
from optforge.comparison.settings import ComparisonSettings
from optforge.errors import CompareError
from optforge.fitness.seeds import seeds as seeds_of
from optforge.tuning import FINAL, QuasiRandom, Setting, Study, tune

_TARGET_AT = 0.75  # share of the baseline's budget after which its loss is the derived target


def compare_on(
    variant: Variant,
    recipes: Sequence[Recipe],
    settings: ComparisonSettings,
    runner: Runner,
    baseline: str,
) -> TaskResult:
    """Compare all recipes on one task, computing only the cells that the table lacks.

    Args:
        variant: The task.
        recipes: The recipes with their tuned dimensions.
        settings: Settings of the comparison.
        runner: Answers the cells.
        baseline: Name of the recipe whose curves give a target if the task names none.
    """
    tuned = _tuned(variant, recipes, settings, runner)
    chosen = _seeds(settings, variant, "final", settings.seeds)
    tuned = _measure(variant, tuned, settings, runner, chosen)
    target = variant.task.target
    if target is None and baseline in tuned:
        target = derived_target(tuned[baseline].finals)
    derived = variant.task.target is None and target is not None
    return TaskResult(variant, tuned, chosen, target, derived)


def derived_target(finals: Sequence[CellResult]) -> float | None:
    """Return the median validation loss of runs after three quarters of their steps.

    Args:
        finals: Final runs of the baseline, with curves.

    Returns:
        The loss; None if there are no curves or a run has no result. Repeating that run later would
        move the target under runs that were already stopped at it.
    """
    if any(outcome.failed for outcome in finals):
        return None
    losses = []
    for outcome in finals:
        if outcome.curve and not outcome.diverged:
            reached = [p[1] for p in outcome.curve if p[0] >= _TARGET_AT * outcome.steps]
            losses.append(reached[0])
    return statistics.median(losses) if losses else None


def _tuned(
    variant: Variant, recipes: Sequence[Recipe], settings: ComparisonSettings, runner: Runner
) -> dict[str, TunedSetting]:
    studies = [Study[CellResult](recipe.name, recipe.space) for recipe in recipes]
    tune(studies, strategy(settings), _Cells(variant, settings, runner, studies))
    return {study.name: _chosen(study, settings) for study in studies}


def strategy(settings: ComparisonSettings) -> QuasiRandom[CellResult]:
    """Return the sampling strategy of settings, which is the same for every recipe."""
    return QuasiRandom(
        settings.trials,
        lambda outcomes: score(outcomes, settings.objective),
        settings.seed,
        settings.sampler == "grid",
        settings.extensions,
        settings.extra_trials,
        settings.finalists,
    )


@dataclass
class _Cells:
    """Trains the settings of all recipes on one task as cells."""

    variant: Variant
    settings: ComparisonSettings
    runner: Runner
    studies: Sequence[Study[CellResult]]
    rounds: int = 0

    def __call__(
        self, asked: Sequence[Sequence[Setting]], number: int
    ) -> list[list[tuple[CellResult, ...]]]:
        settings = self.settings
        if number == FINAL:
            self._skip(asked)
            purpose, seeds = "choosing", self._seeds("choose", settings.again)
        else:
            self.rounds = number
            purpose = "looking beyond an edge" if number else "tuning"
            seeds = self._seeds("tune", settings.tune_seeds)
        if not seeds:
            return [[()] * len(each) for each in asked]
        drawn = {study.name: each for study, each in zip(self.studies, asked, strict=True)}
        rows = train_all(self.variant, drawn, seeds, self.runner, purpose)
        return list(rows.values())

    def _skip(self, finalists: Sequence[Sequence[Setting]]) -> None:
        """Remove cells from the plan that were not needed: rounds of extension, and finalists."""
        settings, count = self.settings, len(self.studies)
        rounds = settings.extensions - self.rounds
        skipped = rounds * settings.extra_trials * settings.tune_seeds * count
        trials = settings.trials + settings.extensions * settings.extra_trials
        missing = min(settings.finalists, trials) * count - sum(map(len, finalists))
        self.runner.progress.skip(self.variant.label, skipped + missing * settings.again)

    def _seeds(self, purpose: str, count: int) -> tuple[int, ...]:
        return _seeds(self.settings, self.variant, purpose, count)


def _chosen(study: Study[CellResult], settings: ComparisonSettings) -> TunedSetting:
    """Choose the setting by all runs of the finalists, to depend less on luck with one seed."""
    tried = {trial.setting: trial for trial in reversed(study.trials)}
    finalists = tuple(
        replace(tried[again.setting], outcomes=tried[again.setting].outcomes + again.outcomes)
        for again in study.finalists
    )
    best = best_trial(finalists, settings.objective)
    # Where every finalist diverged on some seed, the best of the first trials has to do.
    best = best or best_trial(study.trials, settings.objective)
    setting = best.setting if best else None
    edges = tuple(study.space.edges(setting)) if setting is not None else ()
    trials = tuple(study.trials)
    return TunedSetting(study.name, study.space, trials, finalists, setting, study.grown, edges)


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
        drawn: Settings of each recipe.
        chosen: The seeds.
        runner: Answers the cells.
        purpose: Description of the work, for the display and the table.
        template: Cell that says what to measure; a loss on validation data by default.

    Returns:
        Outcomes by recipe, setting and seed.
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


def best_trial(trials: Sequence[Trial], objective: str) -> Trial | None:
    """Return the trial with the lowest score; None if all diverged.

    Example:
        >>> trials = [Trial((), (CellResult(loss=loss),)) for loss in (2.0, 1.0)]
        >>> best_trial(trials, "loss")
        Trial(setting=(), outcomes=(CellResult(loss=1.0, ...
    """
    return tuning.best_trial(trials, lambda outcomes: score(outcomes, objective))


def _measure(
    variant: Variant,
    tuned: dict[str, TunedSetting],
    settings: ComparisonSettings,
    runner: Runner,
    chosen: Sequence[int],
) -> dict[str, TunedSetting]:
    """Train the chosen settings on fresh seeds, with curves, and measure test data at the end."""
    template = Cell(variant.label, "", (), 0, curve=True, test=True, extras=settings.extras)
    drawn = {
        name: [tuned_setting.best]
        for name, tuned_setting in tuned.items()
        if tuned_setting.best is not None
    }
    runner.progress.skip(variant.label, (len(tuned) - len(drawn)) * settings.seeds)
    finals = train_all(variant, drawn, chosen, runner, "measuring", template)
    return {
        name: replace(tuned_setting, finals=finals[name][0]) if name in finals else tuned_setting
        for name, tuned_setting in tuned.items()
    }


def _seeds(
    settings: ComparisonSettings, variant: Variant, purpose: str, count: int
) -> tuple[int, ...]:
    if count < 0:
        raise CompareError(f"{count} seeds make no sense; give 0 or more")
    return seeds_of(settings.seed, variant.task.name, f"compare {purpose}", count)
