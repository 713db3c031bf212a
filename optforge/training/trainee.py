"""The subject of training: a program with the settings of its training outside of the rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from optforge.errors import TaskError
from optforge.language import Program
from optforge.tasks import Schedule, Task


@dataclass(frozen=True)
class Trainee:
    """A program with its schedule and the averaging of its weights at the end.

    Args:
        program: The rule.
        schedule: Schedule of its learning rate; None for the task's own.
        average: Decay of an exponential average over the weights of all steps, which gives the
            final weights, from 0 to below 1; with 0 the last weights count.

    Raises:
        TaskError: If the decay is not allowed.

    Example:
        >>> from optforge.language import load_rule
        >>> Trainee(load_rule("lion"), Schedule(power=0.5)).average
        0.0
    """

    program: Program
    schedule: Schedule | None = None
    average: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.average < 1:
            raise TaskError(
                f"the average of weights has a memory of {self.average}; allowed is 0 to below 1"
            )

    def values(self, task: Task) -> list[float]:
        """Return the schedule's value in each step of a task."""
        shape = Schedule(task.warmup) if self.schedule is None else self.schedule
        return shape.values(task.steps)


ProgramOrTrainee: TypeAlias = Program | Trainee


def trainee(candidate: ProgramOrTrainee) -> Trainee:
    """Return a candidate as a trainee; a program trains under the task's own schedule."""
    return Trainee(candidate) if isinstance(candidate, Program) else candidate
