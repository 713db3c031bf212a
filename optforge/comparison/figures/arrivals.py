"""When a run reaches a loss: a target for all, or what the baseline ends with."""

from __future__ import annotations

import math

from optforge.comparison.cells.cell import CellResult


def arrival(outcome: CellResult, target: float | None) -> float:
    """Return the first step at which the validation loss reaches the target, or infinity.

    Example:
        >>> arrival(CellResult(curve=((10, 0.9, 0.5, 0.1), (20, 0.4, 0.8, 0.2))), 0.5)
        20
    """
    if target is None:
        return math.inf
    return next((point[0] for point in outcome.curve if point[1] <= target), math.inf)


def arrival_seconds(outcome: CellResult, target: float | None) -> float:
    """Return the seconds of training, without validations, until the target, or infinity."""
    if target is None:
        return math.inf
    return next((point[3] for point in outcome.curve if point[1] <= target), math.inf)


def share_of_steps(outcome: CellResult, other: CellResult) -> float:
    """Return the share of another run's steps after which a run has that run's final loss.

    Infinite if it never has it, or if the other run diverged. Both are runs of full length: one
    that was planned for fewer steps, with a schedule to match, might have it sooner.

    Example:
        >>> fast = CellResult(curve=((10, 0.5, 0.5, 0.1), (20, 0.4, 0.8, 0.2)), steps=20)
        >>> share_of_steps(fast, CellResult(loss=0.6, steps=20))
        0.5
    """
    if other.diverged or not other.steps:
        return math.inf
    return arrival(outcome, other.loss) / other.steps
