"""Judging programs: what a worker does with a job."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from optforge.analysis import cost, live_program
from optforge.fitness.outcome import Outcome
from optforge.fitness.probe import probe
from optforge.fitness.stages import JUDGED, PROBE, Stage
from optforge.language import Program
from optforge.tasks import Schedule, Task
from optforge.tasks.data.cache import directory
from optforge.training import (
    ProgramOrTrainee,
    Stack,
    Trainee,
    keep_freed_memory,
    train_population,
    trainee,
)

KILLER = "killed its worker"  # the stage of a program that ends its workers


@dataclass(frozen=True)
class Judge:
    """A job: judge these programs.

    Args:
        programs: Candidates.
        hurdles: For each position of a trace the largest value with which a candidate goes on.
        audits: For each program whether it runs to the end even if it is rejected.
        given: Whether the programs were given, not proposed: then the probe rejects none, for
            a rule that is known to train may look hopeless in its first steps.
    """

    programs: tuple[Program, ...]
    hurdles: tuple[float, ...]
    audits: tuple[bool, ...]
    given: bool = False

    def parts(self) -> list[Judge]:
        """Return the job of each program alone."""
        both = zip(self.programs, self.audits, strict=True)
        return [replace(self, programs=(one,), audits=(audit,)) for one, audit in both]

    def joined(self, results: Sequence[list[Outcome]]) -> list[Outcome]:
        """Return the verdicts of all parts, in their order."""
        return [outcome for result in results for outcome in result]

    def lost(self, failure: object) -> list[Outcome]:
        """Return the worst verdict, for a program that ends its workers."""
        return [Outcome("", math.inf, -1, KILLER, math.inf, None, math.inf, 0, {}, (), 0, 0.0)]


@dataclass(frozen=True)
class Measure:
    """A job: train these programs on these seeds and measure them on one split.

    Programs without a schedule of their own train under that which the evaluator has for the task.
    """

    programs: tuple[ProgramOrTrainee, ...]
    task: str
    seeds: tuple[int, ...]
    split: str

    def parts(self) -> list[Measure]:
        """Return the job of each program alone."""
        return [replace(self, programs=(one,)) for one in self.programs]

    def joined(self, results: Sequence[list[list[float]]]) -> list[list[float]]:
        """Return the losses of all parts, in their order."""
        return [losses for result in results for losses in result]

    def lost(self, failure: object) -> list[list[float]]:
        """Return infinite losses, for a program that ends its workers."""
        return [[math.inf] * len(self.seeds)]


@dataclass
class _Candidate:
    """A program on its way through the stages."""

    lean: Program
    numeric: str
    audited: bool
    scores: dict[str, list[float]] = field(default_factory=dict)
    trace: list[float] = field(default_factory=list)
    rejected: tuple[int, str, float] | None = None
    went_on: bool = False
    running: bool = True
    steps: int = 0
    seconds: float = 0.0

    def fail(self, stage: int, name: str, value: float, trainable: bool) -> None:
        """Reject at the first failure; an audited one goes on as long as it can be trained."""
        self.running = self.audited and trainable
        if self.rejected is None:
            self.rejected = (stage, name, value)
            self.went_on = self.running


class Evaluator:
    """Answers jobs; built once in each worker.

    Args:
        tasks: All tasks that jobs may name.
        stages: The order of the judgement.
        seeds: For each task the training seeds of its repeats.
        baseline: Log validation loss of the tuned baseline for each task and repeat.
        compile: Whether to compile the training kernels.
        schedules: For each task the schedule that programs train under which have none of their
            own; by default the task's.
        alone: Tasks whose models train one at a time.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        stages: Sequence[Stage],
        seeds: Mapping[str, Sequence[int]],
        baseline: Mapping[str, Sequence[float]],
        compile: bool = False,
        schedules: Mapping[str, Schedule] = MappingProxyType({}),
        alone: Sequence[str] = (),
    ) -> None:
        keep_freed_memory()
        torch.set_num_threads(1)
        self.stages, self.seeds, self.baseline = tuple(stages), seeds, baseline
        self.schedules = schedules
        self.stacks = {
            task.name: Stack(task, compile=compile, batched=False if task.name in alone else None)
            for task in tasks
        }
        self._warm(compile)

    def __call__(self, job: Judge | Measure) -> list[Outcome] | list[list[float]]:
        """Do a job; outcomes of :class:`Judge`, losses ``[programs][seeds]`` of measuring."""
        return self.judge(job) if isinstance(job, Judge) else self.measure(job)

    def measure(self, job: Measure) -> list[list[float]]:
        """Train every program on every seed and give its losses."""
        lean = [self._scheduled(candidate, job.task) for candidate in job.programs]
        trained = train_population(self.stacks[job.task], lean, job.seeds, split=job.split)
        return trained.losses.tolist()

    def _scheduled(self, candidate: ProgramOrTrainee, task: str) -> Trainee:
        """Drop what is dead, and give a candidate the task's schedule if it has none."""
        one = trainee(candidate)
        shape = one.schedule or self.schedules.get(task)
        return replace(one, program=live_program(one.program), schedule=shape)

    def judge(self, job: Judge) -> list[Outcome]:
        """Take programs through the stages; the hopeless leave early."""
        candidates = [
            self._probed(program, audited, job.given)
            for program, audited in zip(job.programs, job.audits, strict=True)
        ]
        for stage in self.stages:
            running = [c for c in candidates if c.running]
            if running:
                self._run(stage, running, job.hurdles)
        return [self._outcome(candidate) for candidate in candidates]

    def _probed(self, program: Program, audited: bool, given: bool) -> _Candidate:
        start = time.perf_counter()
        lean = live_program(program)
        found = probe(lean)
        candidate = _Candidate(lean, found.numeric, audited)
        if found.reason is not None and not given:
            value = math.inf if found.reason in ("not finite", "constant") else 0.0
            candidate.fail(0, f"{PROBE}: {found.reason}", value, trainable=True)
        candidate.seconds = time.perf_counter() - start
        return candidate

    def _run(self, stage: Stage, running: list[_Candidate], hurdles: Sequence[float]) -> None:
        start = time.perf_counter()

        def judge(mark: int, places: list[int], losses: Tensor) -> list[bool]:
            values = losses.log().mean(1).tolist()
            for place, value in zip(places, values, strict=True):
                self._note(running[place], stage, stage.first + mark, value, hurdles)
            return [running[place].running for place in places]

        trained = train_population(
            self.stacks[stage.task],
            [Trainee(candidate.lean, self.schedules.get(stage.task)) for candidate in running],
            [self.seeds[stage.task][repeat] for repeat in stage.seeds],
            checkpoints=stage.checkpoints,
            judge=judge,
        )
        references = [self.baseline[stage.task][repeat] for repeat in stage.seeds]
        for candidate, losses, steps in zip(running, trained.losses, trained.steps, strict=True):
            candidate.steps += steps * len(stage.seeds)
            if candidate.running:
                ratios = [
                    value - reference
                    for value, reference in zip(losses.log().tolist(), references, strict=True)
                ]
                candidate.scores.setdefault(stage.task, []).extend(ratios)
                score = _mean_over_tasks(candidate.scores)
                self._note(candidate, stage, stage.last, score, hurdles)
        self._share(time.perf_counter() - start, running, trained.steps)

    def _note(
        self,
        candidate: _Candidate,
        stage: Stage,
        position: int,
        value: float,
        hurdles: Sequence[float],
    ) -> None:
        candidate.trace.append(value)
        limit = hurdles[position] if position < len(hurdles) else math.inf
        finite = math.isfinite(value)
        if not value <= limit or not finite:
            candidate.fail(position + 1, stage.name, value if finite else math.inf, finite)

    def _share(self, seconds: float, running: list[_Candidate], steps: Sequence[int]) -> None:
        total = sum(steps)
        for candidate, own in zip(running, steps, strict=True):
            candidate.seconds += seconds * own / total

    def _outcome(self, candidate: _Candidate) -> Outcome:
        complete = candidate.running and bool(candidate.scores)
        full = _mean_over_tasks(candidate.scores) if complete else math.inf
        judged = (self.stages[-1].last + 2, JUDGED, full)
        stage, name, value = candidate.rejected or judged
        return Outcome(
            candidate.numeric,
            full if candidate.rejected is None else math.inf,
            stage,
            name,
            value,
            full if candidate.went_on else None,
            cost(candidate.lean).state_bytes,
            len(candidate.lean.statements),
            {task: tuple(values) for task, values in candidate.scores.items()},
            tuple(candidate.trace),
            candidate.steps,
            candidate.seconds,
        )

    def _warm(self, compile: bool) -> None:
        """Build data and kernels now, so that no job's time limit pays for them."""
        judged = {stage.task for stage in self.stages}
        left = [stack for stack in self.stacks.values() if stack.task.name in judged]
        left = [stack for stack in left if stack.batched and compile]
        while left:
            # Workers share the tasks: what one compiles, the others find in the compiler's cache.
            for number, stack in enumerate(left):
                if _warmed(stack, wait=number == len(left) - 1):
                    left.remove(stack)
                    break


def _warmed(stack: Stack, wait: bool) -> bool:
    """Warm a stack unless another worker is at it; with ``wait``, after that one."""
    try:
        directory().mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory() / f"compile-{stack.task.hash}.lock")
        lock.acquire(timeout=600 if wait else 0)
    except Timeout:
        if not wait:
            return False
        lock = None
    except OSError:  # a cache that cannot be written only costs time
        lock = None
    try:
        stack.warm()
    finally:
        if lock is not None:
            lock.release()
    return True


def _mean_over_tasks(scores: Mapping[str, Sequence[float]]) -> float:
    """Mean over tasks of the mean over seeds, so that each task counts alike."""
    means = [sum(values) / len(values) for values in scores.values()]
    return sum(means) / len(means)
