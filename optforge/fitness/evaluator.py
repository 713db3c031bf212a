"""Evaluation of programs: what a worker does with a job."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from optforge.analysis import live_program
from optforge.fitness.jobs import Judge, Measure
from optforge.fitness.judgement import Judgement
from optforge.fitness.outcome import Outcome
from optforge.fitness.stages import Stage
from optforge.language import Program
from optforge.tasks import Schedule, Task, is_shipped
from optforge.tasks.data.cache import directory
from optforge.training import (
    ProgramOrTrainee,
    Stack,
    Trained,
    Trainee,
    keep_freed_memory,
    spared_by_compiler,
    train_population,
    trainee,
)


class Evaluator:
    """Answers jobs; built once in each worker.

    Args:
        tasks: All tasks that jobs may name.
        stages: The stages of the judgement, in order; without any, it measures alone.
        seeds: Training seeds of the repeats of each task, one set of them after the other.
        baseline: Log validation loss of the tuned baseline for each task and repeat.
        compile: Whether to compile the training kernels; of shipped tasks beside those that are
            judged on none is, because they train for less time than that takes.
        schedules: Schedule of each task for programs without their own; by default the task's.
        alone: Names of the tasks whose models train one at a time.
        device: Device on which they are trained.
        scales: Factors of the gradients on some seeds of each task.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        stages: Sequence[Stage] = (),
        seeds: Mapping[str, Sequence[int]] = MappingProxyType({}),
        baseline: Mapping[str, Sequence[float]] = MappingProxyType({}),
        compile: bool = False,
        schedules: Mapping[str, Schedule] = MappingProxyType({}),
        alone: Sequence[str] = (),
        device: str = "cpu",
        scales: Mapping[str, Mapping[int, float]] = MappingProxyType({}),
    ) -> None:
        keep_freed_memory()
        torch.set_num_threads(1)
        self.stages, self.seeds, self.baseline = tuple(stages), seeds, baseline
        self.schedules = schedules
        judged = {stage.task for stage in self.stages}
        spared = spared_by_compiler(tasks, judged) if judged else set()
        self.stacks = {
            task.name: Stack(
                task,
                device=device,
                compile=compile and task.name not in spared,
                batched=False if task.name in alone else None,
                scales=scales.get(task.name, {}),
            )
            for task in tasks
        }
        self._warm(compile)

    def __call__(self, job: Judge | Measure) -> list[Outcome] | list[list[float]]:
        """Do a job; return outcomes for :class:`Judge`, losses ``[programs][seeds]`` otherwise."""
        return self.judge(job) if isinstance(job, Judge) else self.measure(job)

    def measure(self, job: Measure) -> list[list[float]]:
        """Train every program on every seed and return the losses."""
        lean = [self._scheduled(candidate, job.task) for candidate in job.programs]
        trained = train_population(self.stacks[job.task], lean, job.seeds, split=job.split)
        return trained.losses.tolist()

    def _scheduled(self, candidate: ProgramOrTrainee, task: str) -> Trainee:
        """Remove dead code from a candidate, and add the task's schedule if it has none."""
        rule = trainee(candidate)
        schedule = rule.schedule or self.schedules.get(task)
        return replace(rule, program=live_program(rule.program), schedule=schedule)

    def judge(self, job: Judge) -> list[Outcome]:
        """Take programs through the stages; hopeless ones leave early."""
        judgements = [
            self._probed(program, audited, job.given)
            for program, audited in zip(job.programs, job.audits, strict=True)
        ]
        for stage in self.stages:
            running = [judgement for judgement in judgements if judgement.running]
            if running:
                self._run(stage, running, job)
        return [judgement.outcome(self.stages[-1]) for judgement in judgements]

    def _probed(self, program: Program, audited: bool, is_given: bool) -> Judgement:
        start = time.perf_counter()
        judgement = Judgement.begin(live_program(program), audited, is_given)
        judgement.seconds = time.perf_counter() - start
        return judgement

    def _run(self, stage: Stage, running: list[Judgement], job: Judge) -> None:
        """Train on the seeds of a stage, then compare with the baseline's losses on these seeds."""
        start, hurdles = time.perf_counter(), job.hurdles
        first = job.seed_set * sum(len(s.seeds) for s in self.stages if s.task == stage.task)
        repeats = [first + repeat for repeat in stage.seeds]
        trained = self._train(stage, running, hurdles, repeats)
        references = [self.baseline[stage.task][repeat] for repeat in repeats]
        for judgement, losses, steps in zip(running, trained.losses, trained.steps, strict=True):
            judgement.steps += steps * len(stage.seeds)
            if judgement.running:
                pairs = zip(losses.log().tolist(), references, strict=True)
                judgement.finish(stage, [value - reference for value, reference in pairs], hurdles)
        _share(time.perf_counter() - start, running, trained.steps)

    def _train(
        self,
        stage: Stage,
        running: list[Judgement],
        hurdles: Sequence[float],
        repeats: Sequence[int],
    ) -> Trained:
        """Train on the seeds of a stage; hopeless programs leave at its checkpoints."""

        def judge(mark: int, places: list[int], losses: Tensor) -> list[bool]:
            values = losses.log().mean(1).tolist()
            for place, value in zip(places, values, strict=True):
                running[place].note(stage, stage.first + mark, value, hurdles)
            return [running[place].running for place in places]

        schedule = self.schedules.get(stage.task)
        return train_population(
            self.stacks[stage.task],
            [Trainee(judgement.lean, schedule) for judgement in running],
            [self.seeds[stage.task][repeat] for repeat in repeats],
            checkpoints=stage.checkpoints,
            judge=judge,
        )

    def _warm(self, compile: bool) -> None:
        """Build data and kernels now, so that this does not count against a job's time limit."""
        judged = {stage.task for stage in self.stages}
        left = [stack for stack in self.stacks.values() if stack.task.name in judged]
        left = [stack for stack in left if stack.batched and compile]
        while left:
            # Workers share the tasks: what one compiles, the others find in the compiler's cache.
            for number, stack in enumerate(left):
                if _warmed(stack, wait=number == len(left) - 1):
                    left.remove(stack)
                    break


def _share(seconds: float, running: list[Judgement], steps: Sequence[int]) -> None:
    """Divide the time of a stage among its programs in proportion to their training steps."""
    total = sum(steps)
    for judgement, count in zip(running, steps, strict=True):
        judgement.seconds += seconds * count / total


def _warmed(stack: Stack, wait: bool) -> bool:
    """Warm up a stack unless another worker is doing so; with ``wait``, after that worker.

    What is compiled of the user's own tasks has been tried, and is in the cache, before there are
    workers; then they need not wait for each other.
    """
    if not is_shipped(stack.task):
        stack.warm()
        return True
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
