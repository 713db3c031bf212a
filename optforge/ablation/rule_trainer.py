"""Training rules on all tasks of a simplification, each on each seed once."""

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
        trainer: Trains; its tasks are in order, the cheapest first.
        schedules: For each task the schedule that its evaluator trains under, if not the task's.
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
        """All tasks, the cheapest first."""
        return tuple(self.trainer.tasks.values())

    @property
    def runner(self) -> JobRunner:
        """What runs the jobs: it knows stop, deadline and display."""
        return self.trainer.runner

    @property
    def trained(self) -> int:
        """How many runs of training there were; what the store knew does not count."""
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
            programs: Rules; what is dead in them is not run.
            purpose: Seeds of two purposes have nothing in common.
            first: Number of the first seed.
            last: Number after the last one.
            what: Is being done, for the display.
            split: ``validation`` or ``test``.

        Returns:
            Float64 ``[programs, tasks, seeds]``; infinite where training failed.

        Raises:
            StoppedError: If a stop is asked for.
            TimeIsUpError: If the deadline passes.
        """
        trainer = self.trainer
        seeds = {
            name: trainer.seeds(name, f"simplify {purpose}", last)[first:] for name in trainer.tasks
        }
        lean = [live_program(program) for program in programs]
        losses = trainer.losses(dict.fromkeys(seeds, lean), seeds, split, what)
        return numpy.stack([losses[name] for name in seeds], 1)
