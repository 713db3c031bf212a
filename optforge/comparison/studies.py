"""Runs for the second ruleset: independent studies of five trials, each stopped at the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optforge.comparison.cells.cell import Cell
from optforge.comparison.cells.runner import Runner
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.result import TaskResult
from optforge.comparison.settings import TRIALS_A_STUDY, ComparisonSettings
from optforge.fitness.seeds import seeds


def study(
    result: TaskResult, recipes: Sequence[Recipe], settings: ComparisonSettings, runner: Runner
) -> TaskResult:
    """Add the studies that the settings request, if there is a target to reach.

    Each study draws its five settings from the recipe's own space, which does not depend on the
    task. Its trials have separate seeds, the same for every recipe.
    """
    if result.target is None:
        count = len(recipes) * settings.studies * TRIALS_A_STUDY
        runner.progress.skip(result.variant.label, count)
        return result
    if not settings.studies:
        return result
    cells = [
        cell
        for recipe in recipes
        for number in range(settings.studies)
        for cell in _cells(result, recipe, settings, number)
    ]
    outcomes = iter(runner.run(cells, "studies of time to target"))
    tuned = dict(result.tuned)
    for recipe in recipes:
        rows = tuple(
            tuple(next(outcomes) for _ in range(TRIALS_A_STUDY)) for _ in range(settings.studies)
        )
        tuned[recipe.name] = replace(tuned[recipe.name], studies=rows)
    return replace(result, tuned=tuned)


def _cells(
    result: TaskResult, recipe: Recipe, settings: ComparisonSettings, number: int
) -> list[Cell]:
    (scramble,) = seeds(settings.seed, "any task", f"compare settings of study {number}", 1)
    drawn = recipe.space.quasi_random(TRIALS_A_STUDY, scramble)
    name, label = result.variant.task.name, result.variant.label
    chosen = seeds(settings.seed, name, f"compare study {number}", TRIALS_A_STUDY)
    return [
        Cell(label, recipe.name, setting, seed, curve=True, until=result.target)
        for setting, seed in zip(drawn, chosen, strict=True)
    ]
