"""Figures 2 and 3: the population trainer against an ordinary loop, and against the machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from optforge.analysis import live_program, state_kinds
from optforge.language import Interpreter, layout_of, load_rule
from optforge.tasks import (
    PROXY_TASKS,
    Task,
    batch_order,
    initial_model,
    load_task,
    schedule,
)
from optforge.training import Stack, evaluate_model, keep_freed_memory, train_population

from .cores import Core, together
from .machine import Spread, spread

TASK_A, TASK_B = "digits_mlp", "python_transformer_b"
TASKS = (TASK_A, TASK_B, *PROXY_TASKS)
_SEED = 0
_SIZE = 1536
Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much is trained: None for all the steps that the task has."""

    candidates: int
    singles: int
    steps: int | None = None
    product_seconds: float = 1.0


def size(task: str, quick: bool) -> Size:
    """Candidates in a batch of one process, and candidates trained alone to time one."""
    mlp = task.endswith("_mlp")
    if quick:
        return Size(4 if mlp else 2, 1, 5, 0.05)
    return Size(64, 16) if mlp else Size(16, 3)


@dataclass
class Timed:
    """What the rounds gave for one task; times in seconds a candidate."""

    size: Size
    batch_size: int
    training_flops: float
    validation_flops: float
    alone: dict[int, list[float]] = field(default_factory=lambda: {1: [], 2: []})
    eager: list[float] = field(default_factory=list)
    compiled: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    compile_seconds: float | None = None

    def speedup(self, times: list[float]) -> Spread:
        """Ratio to the faster of one and two threads, round by round."""
        alone = [min(pair) for pair in zip(self.alone[1], self.alone[2], strict=True)]
        return spread([a / b for a, b in zip(alone, times, strict=True)])

    def share(self, times: list[float]) -> Spread:
        """Part of the matrix-product peak that the arithmetic of training reaches."""
        return spread(
            [self.training_flops / t / peak for t, peak in zip(times, self.peak, strict=True)]
        )


def training(workers: int, repeats: int, quick: bool, compile: bool, say: Say) -> dict[str, Timed]:
    """Time all tasks in interleaved rounds: peak, alone, population, compiled population."""
    results: dict[str, Timed] = {}
    cores = [Core() for _ in range(workers)]
    try:
        with Core(threads=2) as alone:
            for name in TASKS:
                results[name] = _prepare(name, cores, alone, quick, compile, say)
            for number in range(repeats):
                for name in TASKS:
                    say(f"training: {name}, round {number + 1} of {repeats}")
                    _round(name, results[name], cores, alone, compile)
    finally:
        for core in cores:
            core.__exit__()
    return results


def _prepare(
    name: str, cores: list[Core], alone: Core, quick: bool, compile: bool, say: Say
) -> Timed:
    chosen = size(name, quick)
    flops, batch_size = alone.call(count_flops, name, chosen.steps)
    timed = Timed(chosen, batch_size, *flops)
    alone.call(train_alone, name, chosen.steps, 1, 1)
    if compile:
        say(f"training: compiling {name}")
        # One after the other: the second process finds the kernels in the compiler's cache.
        timed.compile_seconds = sum(core.call(warm, name, chosen.steps, True) for core in cores[:1])
        for core in cores[1:]:
            core.call(warm, name, chosen.steps, True)
    together(cores, train_many, name, chosen.steps, 2, False)
    return timed


def _round(name: str, timed: Timed, cores: list[Core], alone: Core, compile: bool) -> None:
    chosen = timed.size
    _, products = together(cores, product_peak, chosen.product_seconds)
    timed.peak.append(sum(products))
    for threads, times in timed.alone.items():
        times.append(alone.call(train_alone, name, chosen.steps, chosen.singles, threads))
    ways = [(timed.eager, False)] + ([(timed.compiled, True)] if compile else [])
    for times, fast in ways:
        seconds, _ = together(cores, train_many, name, chosen.steps, chosen.candidates, fast)
        times.append(seconds / (chosen.candidates * len(cores)))


# What follows runs in the processes that are measured.


@functools.cache
def _task(name: str, steps: int | None) -> Task:
    task = load_task(name)
    if steps is not None:
        task.steps = steps
    return task


@functools.cache
def stack_of(name: str, steps: int | None, compile: bool) -> Stack:
    """Build a task's stack, once in each process."""
    keep_freed_memory()
    return Stack(_task(name, steps), compile=compile)


def warm(name: str, steps: int | None, compile: bool) -> float:
    """Build data and kernels; seconds."""
    _task(name, steps).splits  # noqa: B018 - reading the data is not compiling
    start = time.perf_counter()
    stack_of(name, steps, compile).warm()
    return time.perf_counter() - start


def train_many(name: str, steps: int | None, candidates: int, compile: bool) -> float:
    """Train copies of AdamW on one seed, none leaving early; mean loss."""
    rule = live_program(load_rule("adamw"))
    trained = train_population(stack_of(name, steps, compile), [rule] * candidates, [_SEED])
    return float(trained.losses.mean())


def train_alone(name: str, steps: int | None, count: int, threads: int) -> float:
    """Train candidates one by one with the ordinary loop; seconds a candidate."""
    torch.set_num_threads(threads)
    task = _task(name, steps)
    order, train = batch_order(task, _SEED), task.splits.train
    start = time.perf_counter()
    for _ in range(count):
        _ordinary_loop(task, order, train.inputs, train.targets)
    return (time.perf_counter() - start) / count


def _ordinary_loop(task: Task, order: Tensor, inputs: Tensor, targets: Tensor) -> float:
    """What one would write: a module, `backward`, and the rule on one flat row of weights.

    The module's parameters are views of the row, so that updating it costs one subtraction.
    """
    model = initial_model(task, _SEED)
    parameters = list(model.parameters())
    layout = layout_of([p.shape for p in parameters])
    program = live_program(load_rule("adamw"))
    rule = Interpreter(program, state_kinds(program), layout)
    states = rule.initial_states(1)
    scalars = rule.schedule([schedule(s, task.steps, task.warmup) for s in range(task.steps)])
    weights = torch.cat([p.detach().flatten() for p in parameters]).unsqueeze(0)
    for parameter, part in zip(parameters, weights[0].split(list(layout.sizes)), strict=True):
        parameter.data = part.view_as(parameter)
    for step in range(task.steps):
        model.zero_grad()
        task.loss(model(inputs[order[step]]), targets[order[step]]).backward()
        with torch.no_grad():
            gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            update, states = rule.step(weights, gradient.unsqueeze(0), states, scalars[step])
            weights -= update
    return evaluate_model(task, model, "validation").loss


def count_flops(name: str, steps: int | None) -> tuple[tuple[float, float], int]:
    """Matrix-product arithmetic of a candidate: of training, of its validation; batch size."""
    task = _task(name, steps)
    model, data = initial_model(task, _SEED), task.splits
    with FlopCounterMode(display=False) as one_step:
        part = slice(task.batch_size)
        task.loss(model(data.train.inputs[part]), data.train.targets[part]).backward()
    with FlopCounterMode(display=False) as validation, torch.no_grad():
        model(data.validation.inputs)
    flops = float(one_step.get_total_flops() * task.steps), float(validation.get_total_flops())
    return flops, task.batch_size


def product_peak(seconds: float) -> float:
    """Square float32 matrix products repeated for some time: FLOP a second."""
    a, b = torch.randn(_SIZE, _SIZE), torch.randn(_SIZE, _SIZE)
    result: Any = a @ b
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        torch.mm(a, b, out=result)
        count += 1
    return 2 * _SIZE**3 * count / (time.perf_counter() - begin)
