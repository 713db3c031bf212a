"""The order of a judgement: cheap and informative stages first, all seeds of all tasks last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optforge.tasks import Task

_CHECKPOINTS = (0.05, 0.15, 0.35, 0.65)  # shares of a run after which the hopeless leave
PROBE = "probe"
JUDGED = "judged"


@dataclass(frozen=True)
class Stage:
    """A step of the judgement: some seeds of one task.

    Args:
        task: Name of the task.
        seeds: Numbers of the repeats that are trained here.
        checkpoints: Training steps after which hopeless programs leave.
        first: Position of this stage's first value in a candidate's trace.

    Example:
        >>> Stage("digits_mlp", (1, 2), (), 5).name
        'digits_mlp, repeats 1-2'
    """

    task: str
    seeds: tuple[int, ...]
    checkpoints: tuple[int, ...]
    first: int

    @property
    def name(self) -> str:
        """The name of the stage in reports."""
        last = "" if len(self.seeds) == 1 else f"-{self.seeds[-1]}"
        return f"{self.task}, repeat{'s' if last else ''} {self.seeds[0]}{last}"

    @property
    def last(self) -> int:
        """Position in the trace of the score that the stage ends with."""
        return self.first + len(self.checkpoints)


def plan_stages(tasks: Sequence[Task], repeats: int, confirm: int = 0) -> tuple[Stage, ...]:
    """Order the stages of a judgement by their cost and information.

    One repeat of each task comes first, because different tasks are more informative than different
    seeds. Then come the other repeats, then the confirming ones. Only programs that would be among
    the best get that far, and more seeds are needed to distinguish the best from the lucky. The
    first repeat of a task has checkpoints within the run.

    Args:
        tasks: The tasks, cheapest first.
        repeats: Number of seeds of each task.
        confirm: Number of further seeds of each task for the last stages.

    Example:
        >>> from optforge.tasks import load_task
        >>> [stage.name for stage in plan_stages([load_task("digits_mlp")], 3)]
        ['digits_mlp, repeat 0', 'digits_mlp, repeats 1-2']
    """
    more = tuple(range(1, repeats))
    last = tuple(range(repeats, repeats + confirm))
    order = [(task, chosen) for chosen in ((0,), more, last) for task in tasks]
    stages, position = [], 0
    for task, seeds in order:
        if seeds:
            checkpoints = _checkpoints(task.steps) if seeds == (0,) else ()
            stages.append(Stage(task.name, seeds, checkpoints, position))
            position = stages[-1].last + 1
    return tuple(stages)


def _checkpoints(steps: int) -> tuple[int, ...]:
    marks = {max(2, round(share * steps)) for share in _CHECKPOINTS}
    return tuple(sorted(mark for mark in marks if mark < steps))
