"""Training of programs on tasks and seeds: the one way to get losses, from a store first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy
from numpy import ndarray

from optforge.fitness import Measure, seeds
from optforge.jobs.runner import JobRunner
from optforge.jobs.store import Source, Store
from optforge.training import ProgramOrTrainee

_SEEDS_OF_SLOW = 2


@dataclass
class Trainer:
    """Trains programs and returns their losses; losses in the store are not computed again.

    Args:
        runner: Runs the jobs, which a :class:`optforge.fitness.Evaluator` answers.
        tasks: All tasks that it can train on.
        seed: Seed from which all training seeds are derived.
        store: Store of losses.
        programs_a_job: Number of programs trained at once.
        seeds_a_job: Number of seeds on which each is trained.
        trained: Number of trainings so far, without those found in the store.
        slow: Number of trainings of a job, a power of two, on each task that trains slowly: so no
            worker waits long for another, and a job fills the rows of a compiled kernel.
    """

    runner: JobRunner
    tasks: Mapping[str, Source]
    seed: int
    store: Store
    programs_a_job: int = 16
    seeds_a_job: int = 3
    trained: int = 0
    slow: Mapping[str, int] = field(default_factory=dict)

    def seeds(self, task: str, purpose: str, count: int) -> tuple[int, ...]:
        """Return training seeds; different purposes share no seeds."""
        return seeds(self.seed, task, purpose, count)

    def losses(
        self,
        programs: Mapping[str, Sequence[ProgramOrTrainee]],
        chosen: Mapping[str, Sequence[int]],
        split: str,
        what: str = "",
    ) -> dict[str, ndarray]:
        """Train programs on tasks and return their log losses.

        Args:
            programs: Programs to train on each task; their number may differ between tasks.
                Programs without their own schedule train under the evaluator's.
            chosen: Seeds of each task.
            split: ``validation`` or ``test``.
            what: Description of the work, for the display.

        Returns:
            Losses of each task, float64 ``[programs, seeds]``; infinite where training failed.
        """
        jobs = [
            job
            for task in programs
            for job in self._missing(task, programs[task], chosen[task], split)
        ]
        for number, losses in self.runner.run(jobs, what):
            self._keep(jobs[number], losses)
        return {
            task: numpy.array(
                [[self._known(rule, task, seed, split) for seed in chosen[task]] for rule in rules],
                dtype=numpy.float64,
            ).reshape(len(rules), len(chosen[task]))
            for task, rules in programs.items()
        }

    def _key(self, program: ProgramOrTrainee, task: str, seed: int, split: str) -> str:
        return self.store.key(program, self.tasks[task], seed, split)

    def _known(self, program: ProgramOrTrainee, task: str, seed: int, split: str) -> float:
        value = self.store.get(self._key(program, task, seed, split))
        assert value is not None
        return value

    def _missing(
        self, task: str, programs: Sequence[ProgramOrTrainee], chosen: Sequence[int], split: str
    ) -> list[Measure]:
        """Return the missing losses as jobs; programs that lack the same seeds share a job."""
        lacking: dict[tuple[int, ...], dict[str, ProgramOrTrainee]] = {}
        for program in programs:
            keys = {seed: self._key(program, task, seed, split) for seed in chosen}
            left = tuple(seed for seed in chosen if self.store.get(keys[seed]) is None)
            if left:
                lacking.setdefault(left, {})[keys[left[0]]] = program
        return [
            Measure(tuple(rules[a : a + programs]), task, left[b : b + seeds], split)
            for left, distinct in lacking.items()
            for rules, (programs, seeds) in [(list(distinct.values()), self._size(task, len(left)))]
            for a in range(0, len(rules), programs)
            for b in range(0, len(left), seeds)
        ]

    def _size(self, task: str, seeds: int) -> tuple[int, int]:
        """Return the numbers of programs and seeds of a job on a task where so many seeds lack."""
        if task not in self.slow:
            return self.programs_a_job, self.seeds_a_job
        seeds = min(seeds, _SEEDS_OF_SLOW)
        return max(1, self.slow[task] // seeds), seeds

    def _keep(self, job: Measure, losses: Sequence[Sequence[float]]) -> None:
        values = numpy.asarray(losses, dtype=numpy.float64)
        # What is not above 0 is no loss, and as bad as one that diverged.
        logs = numpy.log(numpy.where(values > 0, values, numpy.inf))
        self.store.put(
            {
                self._key(program, job.task, seed, job.split): float(logs[i, j])
                for i, program in enumerate(job.programs)
                for j, seed in enumerate(job.seeds)
            }
        )
        self.trained += logs.size
