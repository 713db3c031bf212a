"""The onset of meta-overfitting, from the validations of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from optforge.statistics import mean_interval_over_tasks

KIND = "validate"  # of the events
_PATIENCE = 3  # incumbents in a row that must be worse than the best
_CONFIDENCE = 0.98  # of the interval of their mean difference


@dataclass(frozen=True)
class Validation:
    """An incumbent of a search on larger tasks.

    Args:
        fingerprint: Fingerprint of the program.
        text: Its text.
        at: Number of programs proposed before the batch with which it was measured.
        fitness: Its fitness in the search.
        logs: Log validation losses on each task, at its best of three rates, one per seed.
    """

    fingerprint: str
    text: str
    at: int
    fitness: float
    logs: Mapping[str, tuple[float, ...]]

    @classmethod
    def read(cls, detail: Mapping[str, Any]) -> Validation:
        """Build one from the detail of its event."""
        logs = {task: tuple(map(float, values)) for task, values in detail["logs"].items()}
        return cls(detail["fingerprint"], detail["program"], detail["at"], detail["fitness"], logs)

    @property
    def loss(self) -> float:
        """Mean log loss over seeds and tasks."""
        return sum(sum(row) / len(row) for row in self.logs.values()) / len(self.logs)


def onset(validations: Sequence[Validation]) -> Validation | None:
    """Return the incumbent behind which a search overfits; None if it does not.

    It is the one with the lowest loss on the larger tasks, if the last three incumbents came after
    it and are worse, on the same seeds, with a confidence of 98 %.

    Args:
        validations: Incumbents since the search began or restarted, in order.

    Example:
        >>> def measured(at, loss):
        ...     return Validation("", "", at, 0.0, {"a": (loss, loss + 0.01, loss + 0.02)})
        >>> losses = [0.5, 0.3, 0.4, 0.41, 0.42]
        >>> onset([measured(at, loss) for at, loss in enumerate(losses)]).at
        1
        >>> onset([measured(at, -at) for at in range(9)]) is None
        True
    """
    finite = [validation for validation in validations if math.isfinite(validation.loss)]
    if len(finite) <= _PATIENCE:
        return None
    best = min(finite, key=lambda validation: validation.loss)
    later = validations[validations.index(best) + 1 :][-_PATIENCE:]
    if len(later) < _PATIENCE:
        return None
    return best if _is_worse(best, later) else None


def overfitted_ranges(validations: Sequence[Validation]) -> list[tuple[int, int]]:
    """Return the proposals between each onset and its detection: after the first, up to the second.

    Args:
        validations: All validations of a run, in order.
    """
    ranges, since = [], 0
    for place, validation in enumerate(validations):
        begun = onset(validations[since : place + 1])
        if begun is not None:
            ranges.append((begun.at, validation.at))
            since = place + 1
    return ranges


def _is_worse(best: Validation, later: Sequence[Validation]) -> bool:
    """Return whether the mean of later incumbents is certainly above the best."""
    if not all(math.isfinite(validation.loss) for validation in later):
        return all(validation.loss > best.loss for validation in later)
    rows = [
        numpy.mean([validation.logs[task] for validation in later], axis=0) - numpy.array(values)
        for task, values in best.logs.items()
    ]
    return mean_interval_over_tasks(rows, _CONFIDENCE).low > 0
