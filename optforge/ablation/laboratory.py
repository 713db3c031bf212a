"""Training rules on tasks and seeds, each once, spread over the workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy
from numpy import ndarray

from optforge.ablation.store import Store
from optforge.analysis import live_program
from optforge.errors import SimplifyError
from optforge.execution import Completed, Executor, Failed
from optforge.fitness import Measure, seeds
from optforge.language import Program
from optforge.tasks import Schedule, Task

_PROGRAMS, _SEEDS = 16, 3  # of one job
FAILED = 5.0  # log loss of training that ended in no finite number: worse than any that did

Watch = Callable[[str, int, int], None]


class StoppedError(Exception):
    """Leaves a derivation when a stop is asked for; what was measured is in the store."""


class TimeIsUpError(Exception):
    """Leaves the trials when their time is used up; what was decided so far stands."""


@dataclass(frozen=True)
class _Job:
    """Programs and seeds of one task, none of them measured."""

    task: Task
    programs: tuple[Program, ...]
    seeds: tuple[int, ...]
    split: str


class Laboratory:
    """Measures rules; asks the store first.

    Args:
        tasks: All tasks, the cheapest first.
        executor: Idle; answers :class:`optforge.fitness.Measure`.
        store: What is known already.
        seed: Decides all training seeds.
        watch: Told what is measured, how many jobs are done and how many there are.
        stop: Asked now and then whether to stop.
        window: Jobs that are handed over at once.
        schedules: For each task the schedule that its executor trains under, if not the task's.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        executor: Executor,
        store: Store,
        seed: int = 0,
        watch: Watch = lambda what, done, total: None,
        stop: Callable[[], bool] = lambda: False,
        window: int = 4,
        schedules: Mapping[str, Schedule] = MappingProxyType({}),
    ) -> None:
        self.tasks, self.executor, self.store, self.seed = tuple(tasks), executor, store, seed
        self.watch, self.stop, self.window = watch, stop, window
        self.schedules = schedules
        self.deadline = float("inf")
        self.trained = 0
        self._next = 0

    def measure(
        self,
        programs: Sequence[Program],
        purpose: str,
        first: int,
        last: int,
        what: str,
        split: str = "validation",
    ) -> ndarray:
        """Give log losses of rules on the seeds ``first`` to ``last`` of a purpose.

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
        lean = [live_program(program) for program in programs]
        chosen = {task.name: self._seeds(task, purpose, first, last) for task in self.tasks}
        jobs = [
            job
            for task in self.tasks
            for job in self._missing(task, lean, chosen[task.name], split)
        ]
        if jobs:
            self._run(jobs, what)
        return numpy.array(
            [
                [
                    [self._known(program, task, seed, split) for seed in chosen[task.name]]
                    for task in self.tasks
                ]
                for program in lean
            ],
            dtype=numpy.float64,
        ).reshape(len(lean), len(self.tasks), last - first)

    def measure_on(
        self, program: Program, chosen: Mapping[str, Sequence[int]], what: str
    ) -> dict[str, list[float]]:
        """Give log losses of one rule on seeds that are given, on validation data."""
        lean, split = live_program(program), "validation"
        jobs = [
            job
            for task in self.tasks
            for job in self._missing(task, [lean], chosen[task.name], split)
        ]
        if jobs:
            self._run(jobs, what)
        return {
            task.name: [self._known(lean, task, seed, split) for seed in chosen[task.name]]
            for task in self.tasks
        }

    @property
    def interrupted(self) -> bool:
        """Tell whether a stop is asked for or the time is up."""
        return self.stop() or time.monotonic() > self.deadline

    def _seeds(self, task: Task, purpose: str, first: int, last: int) -> tuple[int, ...]:
        return seeds(self.seed, task.name, f"simplify {purpose}", last)[first:]

    def _known(self, program: Program, task: Task, seed: int, split: str) -> float:
        value = self.store.get(self.store.key(program, task, seed, split))
        assert value is not None
        return value

    def _missing(
        self, task: Task, programs: Sequence[Program], chosen: Sequence[int], split: str
    ) -> list[_Job]:
        """List what is not known, in jobs; rules that lack the same seeds go together."""
        lacking: dict[tuple[int, ...], dict[str, Program]] = {}
        for program in programs:
            left = tuple(
                seed
                for seed in chosen
                if self.store.get(self.store.key(program, task, seed, split)) is None
            )
            if left:
                lacking.setdefault(left, {})[program.text] = program
        return [
            _Job(task, tuple(rules[a : a + _PROGRAMS]), left[b : b + _SEEDS], split)
            for left, of in lacking.items()
            for rules in [list(of.values())]
            for a in range(0, len(rules), _PROGRAMS)
            for b in range(0, len(left), _SEEDS)
        ]

    def _run(self, jobs: Sequence[_Job], what: str) -> None:
        """Run jobs, few at once, so that little is lost when the time is up."""
        left = list(reversed(jobs))
        waiting: dict[int, tuple[_Job, int]] = {}
        total = len(jobs)
        while left or waiting:
            while left and len(waiting) < self.window:
                self._submit(left.pop(), 0, waiting)
            self.watch(what, total - len(left) - len(waiting), total)
            outcome = self.executor.next(timeout=0.25)
            if outcome is not None:
                job, failures = waiting.pop(outcome.key)
                self._receive(job, failures, outcome, waiting)
            if self.stop():
                raise StoppedError
            if time.monotonic() > self.deadline:
                self._drain(waiting)
                raise TimeIsUpError
        self.watch(what, total, total)

    def _submit(self, job: _Job, failures: int, waiting: dict[int, tuple[_Job, int]]) -> None:
        waiting[self._next] = (job, failures)
        measure = Measure(job.programs, job.task.name, job.seeds, job.split)
        self.executor.submit(self._next, measure)
        self._next += 1

    def _receive(
        self,
        job: _Job,
        failures: int,
        outcome: Completed | Failed,
        waiting: dict[int, tuple[_Job, int]],
    ) -> None:
        """Note what a job found; one whose worker died is done again, then rule by rule."""
        if isinstance(outcome, Completed):
            self._note(job, outcome.result)
            return
        if outcome.reason == "error":
            lines = outcome.detail.strip().splitlines() or ["no reason given"]
            error = SimplifyError(f"training on {job.task.name} failed: {lines[-1]}")
            error.add_note(outcome.detail)
            raise error
        if failures == 0:
            self._submit(job, 1, waiting)
        elif len(job.programs) > 1:
            for program in job.programs:
                self._submit(_Job(job.task, (program,), job.seeds, job.split), 1, waiting)
        else:  # a rule that ends its worker twice has no loss
            self._note(job, [[float("inf")] * len(job.seeds)])

    def _note(self, job: _Job, losses: Sequence[Sequence[float]]) -> None:
        with numpy.errstate(divide="ignore"):
            logs = numpy.log(numpy.asarray(losses, dtype=numpy.float64))
        logs[~numpy.isfinite(logs)] = numpy.inf
        self.store.put(
            {
                self.store.key(program, job.task, seed, job.split): float(logs[i, j])
                for i, program in enumerate(job.programs)
                for j, seed in enumerate(job.seeds)
            }
        )
        self.trained += len(job.programs) * len(job.seeds)

    def _drain(self, waiting: dict[int, tuple[_Job, int]]) -> None:
        """Wait for what the workers still do, so that the executor is idle again."""
        while waiting:
            outcome = self.executor.next(timeout=0.25)
            if outcome is not None:
                job, _ = waiting.pop(outcome.key)
                if isinstance(outcome, Completed):
                    self._note(job, outcome.result)
