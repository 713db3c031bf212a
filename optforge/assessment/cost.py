"""The cost of a search: what is trained before it, in it and at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optforge.assessment.select import LEAST_FINALISTS, ROUNDS
from optforge.assessment.table import LEAST_REPEATS
from optforge.tasks import Task, initial_model
from optforge.tuning.trainees import Effort

# Rows of the table that are tuned at the end, on every task and with one setting on the proxies;
# baselines and the control of shipped tasks are known, those of the user's own tasks are not.
_SHIPPED, _OWN = (2, 1), (5, 4)
_ROWS = 14
# In finished searches of the shipped tasks (results/search): what a new program takes on average,
# as a share of one that is judged in full, and the share of programs that are new.
_SHARE, _NEW = 0.13, 0.62


@dataclass(frozen=True)
class TaskCost:
    """The cost of one task.

    Args:
        name: Name of the task.
        parameters: Number of trained parameters.
        examples: Number of training examples.
        steps: Number of steps of a training.
        seconds: Seconds of one worker for one training, beside others in the same process.
        before: Number of trainings that tune AdamW before the search.
        judging: Number of trainings that a full verdict needs; 0 for a held-out task.
        after: Number of trainings at the end: selection, tuning, table; about.
    """

    name: str
    parameters: int
    examples: int
    steps: int
    seconds: float
    before: int
    judging: int
    after: int

    @classmethod
    def of(cls, task: Task, seconds: float, effort: Effort, is_own: bool, judging: int) -> TaskCost:
        """Count the trainings of a task.

        Args:
            task: The task.
            seconds: Seconds of one training.
            effort: How much every row of the table is tuned.
            is_own: Whether the task has no shipped baselines.
            judging: Number of seeds of a full verdict; 0 for a held-out task.
        """
        rows, with_one_setting = _OWN if is_own else _SHIPPED
        rows += with_one_setting if judging else 0
        rounds = [(effort.scaled(n, LEAST_FINALISTS), effort.fresh(share)) for n, share in ROUNDS]
        fresh = sum(count * seeds for count, seeds in rounds) if judging else 0
        parameters = [p for p in initial_model(task, 0).parameters() if p.requires_grad]
        return cls(
            name=task.name,
            parameters=sum(p.numel() for p in parameters),
            examples=len(task.splits.train),
            steps=task.steps,
            seconds=seconds,
            before=effort.expected_runs if is_own else 0,
            judging=judging,
            after=rows * effort.expected_runs + _ROWS * effort.fresh(least=LEAST_REPEATS) + fresh,
        )


@dataclass(frozen=True)
class SearchCost:
    """The cost of a search; times are seconds, with all workers at once.

    Args:
        tasks: The tasks, proxies first.
        workers: Number of processes.
        device: Device that was measured.
        minutes: Length of the search; None if only its number of programs is limited.
        programs: Number of programs; None if only its time is limited.
    """

    tasks: tuple[TaskCost, ...]
    workers: int
    device: str
    minutes: float | None
    programs: int | None

    @property
    def before(self) -> float:
        """Seconds to tune AdamW on the user's own tasks."""
        return sum(task.before * task.seconds for task in self.tasks) / self.workers

    @property
    def verdict(self) -> float:
        """Seconds of one worker for a program that is judged in full."""
        return sum(task.judging * task.seconds for task in self.tasks)

    @property
    def searching(self) -> float:
        """Seconds of the search itself; infinite without a limit."""
        by_programs = math.inf
        if self.programs is not None:
            by_programs = self.programs * _NEW * _SHARE * self.verdict / self.workers
        by_time = math.inf if self.minutes is None else 60 * self.minutes
        return min(by_programs, by_time)

    @property
    def after(self) -> float:
        """Seconds of the measurements at the end, about."""
        return sum(task.after * task.seconds for task in self.tasks) / self.workers

    @property
    def total(self) -> float:
        """Seconds of everything."""
        return self.before + self.searching + self.after
