"""Raw results of a comparison, before any statistics: trials, choices and final runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from optforge import tuning
from optforge.comparison.cells.cell import CellResult
from optforge.comparison.cells.variant import Variant
from optforge.errors import CompareError
from optforge.tuning import Setting, Space

if TYPE_CHECKING:  # which imports this module
    from optforge.comparison.one_setting import OneSetting

_SMALLEST = 1e-12  # a loss of exactly 0 has no logarithm


def log_loss(loss: float) -> float:
    """Return the logarithm of a loss; infinity if the loss is not finite.

    Example:
        >>> log_loss(1.0), log_loss(math.nan)
        (0.0, inf)
    """
    return math.log(max(loss, _SMALLEST)) if math.isfinite(loss) else math.inf


def not_positive(task: str, what: str, loss: float) -> CompareError:
    """Return the error for a loss that has no logarithm.

    Args:
        task: Name or label of the task.
        what: Name of the loss.
        loss: The loss, at or below 0.
    """
    return CompareError(
        f"{what} of {task} is {loss:.6g}; losses are compared by their log ratios, which need "
        "losses above 0: let loss() return a positive one, such as this one plus a constant that "
        "it cannot fall below"
    )


def score(outcomes: Sequence[CellResult], objective: str) -> float:
    """Return the score that settings are chosen by, lower is better: mean log loss or -metric.

    A run that diverged or has no result makes the score infinite.
    """
    if not outcomes or any(o.diverged or o.failed for o in outcomes):
        return math.inf
    if objective == "metric":
        values = [-o.metric for o in outcomes]
    else:
        values = [log_loss(o.loss) for o in outcomes]
    return sum(values) / len(values) if all(map(math.isfinite, values)) else math.inf


Trial: TypeAlias = tuning.Trial[CellResult]
"""One setting that was tried, with its runs on the tuning seeds; of finalists also on others."""


@dataclass(frozen=True)
class TunedSetting:
    """Result of one optimizer on one task.

    Args:
        recipe: Name of the recipe.
        space: The space after all extensions.
        trials: All tried settings, in the order of the plan.
        finalists: Trials that were also trained on further seeds, with all their outcomes.
        best: The chosen setting; None if every trial diverged or has no result.
        grown: Names of the dimensions whose range grew.
        edges: Names of the dimensions in whose outer tenth the chosen setting lies.
        finals: Runs of the chosen setting on fresh seeds.
        sensitivity: Learning rates around the best setting, with their runs.
        heat_map: Learning rates and decays around the best setting, with their runs.
        studies: Runs of the trials of each AlgoPerf-style study.
    """

    recipe: str
    space: Space
    trials: tuple[Trial, ...]
    finalists: tuple[Trial, ...]
    best: Setting | None
    grown: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    finals: tuple[CellResult, ...] = ()
    sensitivity: tuple[Trial, ...] = ()
    heat_map: tuple[Trial, ...] = ()
    studies: tuple[tuple[CellResult, ...], ...] = ()

    @property
    def diverged_trials(self) -> int:
        """Number of trials with a run that diverged."""
        return sum(any(o.diverged for o in trial.outcomes) for trial in self.trials)

    @property
    def failed_trials(self) -> int:
        """Number of trials with a run without a result: its process died or took too long."""
        return sum(any(o.failed for o in trial.outcomes) for trial in self.trials)

    @property
    def failed_finals(self) -> int:
        """Number of final runs without a result."""
        return sum(bool(outcome.failed) for outcome in self.finals)

    @property
    def diverged_finals(self) -> int:
        """Number of final runs that diverged."""
        return sum(outcome.diverged for outcome in self.finals)


@dataclass(frozen=True)
class TaskResult:
    """Results of all optimizers on one task.

    Args:
        variant: The task.
        tuned: Result of each recipe, by name.
        seeds: Seeds of the final runs.
        target: The validation loss to reach, given by the task or derived; None if there is none.
        derived: Whether the target was derived from the baseline's curves.
    """

    variant: Variant
    tuned: Mapping[str, TunedSetting]
    seeds: tuple[int, ...] = ()
    target: float | None = None
    derived: bool = False


@dataclass(frozen=True)
class Findings:
    """Results of a whole comparison.

    Args:
        tasks: Results of each task, in the order of the plan.
        baseline: Name of the recipe that the others are compared with.
        objective: The objective by which settings were chosen: ``loss`` or ``metric``.
        one_setting: Results with one setting for all tasks, one per recipe.
    """

    tasks: tuple[TaskResult, ...]
    baseline: str
    objective: str = "loss"
    one_setting: tuple[OneSetting, ...] = ()
