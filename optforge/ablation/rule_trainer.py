"""Training of rules on all tasks of a simplification, each once on each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy
from numpy import ndarray

from optforge.analysis import live_program
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import Program
from optforge.tasks import Schedule, Task

FAILED = 5.0  # log loss of training that ended in no finite number: worse than any that did


@dataclass(frozen=True)
class RuleTrainer:
    """Trains rules on all tasks at once.

    Args:
        trainer: Does the training; its tasks are in order, cheapest first.
        schedules: Schedule of each task whose evaluator does not train under the task's own.
    """

    trainer: Trainer
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        tasks: Sequence[Task],
        runner: JobRunner,
        store: Store,
        seed: int = 0,
        schedules: Mapping[str, Schedule] = MappingProxyType({}),
    ) -> RuleTrainer:
        """Build one from its parts."""
        return cls(Trainer(runner, {task.name: task for task in tasks}, seed, store), schedules)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, cheapest first."""
        return tuple(task for task in self.trainer.tasks.values() if isinstance(task, Task))

    @property
    def runner(self) -> JobRunner:
        """The runner of the jobs, with its stop, deadline and display."""
        return self.trainer.runner

    @property
    def trained(self) -> int:
        """Number of training runs so far, without results from the store."""
        return self.trainer.trained

    def measure(
        self,
        programs: Sequence[Program],
        purpose: str,
        first: int,
        last: int,
        what: str,
        split: str = "validation",
    ) -> ndarray:
        """Return log losses of rules on the seeds ``first`` to ``last`` of a purpose.

        Args:
            programs: The rules; their dead statements are not run.
            purpose: Name of a set of seeds; different purposes share no seeds.
            first: Number of the first seed.
            last: Number after the last one.
            what: Description of the work, for the display.
            split: ``validation`` or ``test``.

        Returns:
            Float64 ``[programs, tasks, seeds]``; infinite where training failed.

        Raises:
            StoppedError: If a stop is requested.
            TimeIsUpError: If the deadline passes.
        """
        trainer = self.trainer
        seeds = {
            name: trainer.seeds(name, f"simplify {purpose}", last)[first:] for name in trainer.tasks
        }
        lean = [live_program(program) for program in programs]
        losses = trainer.losses(dict.fromkeys(seeds, lean), seeds, split, what)
        return numpy.stack([losses[name] for name in seeds], 1)
