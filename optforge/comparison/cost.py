"""The cost of a plan before it runs: cells counted, processor time measured on a few steps."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from optforge.comparison.cells.cell import Cell
from optforge.comparison.cells.runner import refused
from optforge.comparison.cells.train import run_cell
from optforge.comparison.cells.variant import Variant, vary
from optforge.comparison.protocol import strategy
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.settings import TRIALS_A_STUDY, ComparisonSettings
from optforge.comparison.sweep import sweep_points
from optforge.errors import USERS_ERRORS
from optforge.tasks import initial_model
from optforge.training.devices import wait_for
from optforge.training.single import evaluate_model

_STEPS = 6
UNIT = 600.0  # seconds above which a single run is called long


@dataclass(frozen=True)
class Line:
    """One task and optimizer of a plan.

    Args:
        task: Label of the task.
        recipe: Name of the recipe.
        tuning: Number of tuning runs, including those beyond an edge and those of finalists.
        finals: Number of runs on fresh seeds.
        sweeps: Number of runs for curves, maps, studies and one setting for all tasks.
        seconds: Seconds of one run without intermediate validations.
        validations: Seconds of all validations of one run with a curve.
    """

    task: str
    recipe: str
    tuning: int
    finals: int
    sweeps: int
    seconds: float
    validations: float

    @property
    def cells(self) -> int:
        """Number of all runs."""
        return self.tuning + self.finals + self.sweeps

    @property
    def total(self) -> float:
        """Seconds that one worker would need."""
        return self.cells * self.seconds + self.finals * self.validations


def counts(settings: ComparisonSettings, recipe: Recipe) -> tuple[int, int, int]:
    """Return the largest numbers of runs of an optimizer on a task: tuning, finals, sweeps."""
    trials = settings.trials + settings.extensions * settings.extra_trials
    tuning = trials * settings.tune_seeds + min(settings.finalists, trials) * settings.again
    points = sum(sweep_points(settings, recipe.space.names))
    sweeps = points * settings.sweep_seeds + settings.studies * TRIALS_A_STUDY
    sweeps += settings.one_setting + settings.seeds if settings.one_setting else 0
    return tuning, settings.seeds, sweeps


def estimate(
    variants: Sequence[Variant],
    recipes: Sequence[Recipe],
    settings: ComparisonSettings,
    device: str = "cpu",
) -> list[Line]:
    """Measure a few steps of every optimizer on every task; takes about a second each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        return [
            _line(variant, recipe, settings, device) for variant in variants for recipe in recipes
        ]
    finally:
        torch.set_num_threads(threads)


def expected_cells(lines: Sequence[Line]) -> Mapping[str, tuple[int, float]]:
    """Return the number of runs of each task and the mean seconds of one."""
    sums: dict[str, tuple[int, float]] = {}
    for line in lines:
        cells, total = sums.get(line.task, (0, 0.0))
        sums[line.task] = (cells + line.cells, total + line.total)
    return {task: (cells, total / max(1, cells)) for task, (cells, total) in sums.items()}


def _line(variant: Variant, recipe: Recipe, settings: ComparisonSettings, device: str) -> Line:
    step, look, rest = _measure(variant, recipe, settings, device)
    looks = -(-variant.task.steps // variant.period)
    seconds = variant.task.steps * step + look + rest
    return Line(variant.label, recipe.name, *counts(settings, recipe), seconds, (looks + 1) * look)


def _measure(
    variant: Variant, recipe: Recipe, settings: ComparisonSettings, device: str
) -> tuple[float, float, float]:
    """Return the seconds of a step, of a validation, and of the rest of a run."""
    few = min(_STEPS, variant.task.steps)
    short = vary(variant.task, {"steps": few})
    cell = Cell(variant.label, recipe.name, strategy(settings).draw(recipe.space)[0], 0)
    try:
        run_cell(short, recipe, cell, device)  # the first run pays for what is loaded once
        began = _clock(device)
        outcome = run_cell(short, recipe, cell, device)
        busy = _clock(device) - began
        model = initial_model(variant.task, 0).to(device)
        began = _clock(device)
        evaluate_model(variant.task, model, "validation", variant.random)
        look = _clock(device) - began
    except USERS_ERRORS as error:
        raise refused(cell, traceback.format_exc()) from error
    step = outcome.step_ms / 1000 * busy / outcome.seconds
    step = step if math.isfinite(step) else busy / few  # a run that failed tells no more
    return step, look, max(0.0, busy - few * step - look)


def _clock(device: str) -> float:
    """Return the processor time of this process, or the wall-clock time if it trains on a GPU."""
    wait_for(device)
    return time.process_time() if device.startswith("cpu") else time.perf_counter()
