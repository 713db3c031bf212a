"""What a GPU reaches: candidates a second, shares of its peaks, a step of Lion."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from optforge.analysis import live_program, state_kinds
from optforge.language import Interpreter, Layout, Program, load_rule
from optforge.optim import Lion
from optforge.tasks import Task, initial_model
from optforge.tasks.registry import TASKS, MnistMLP, MnistViT, PythonTransformer
from optforge.training import Stack, has_compiler, keep_freed_memory, train_population

from .cores import Core, together

Figures = dict[str, Any]
# A mix as a search has it: most rules elementwise, some with norms, rows or matrices.
RULES = ("adamw", "lion", "signum", "adan", "lamb", "adafactor", "muon", "ortho_adam")


class LargeMLP(MnistMLP):
    """mnist_mlp with about 30 times the arithmetic."""

    name = "mnist_mlp_x30"
    pool = 1
    hidden = (256,)


class LargeViT(MnistViT):
    """mnist_vit with about 30 times the arithmetic."""

    name = "mnist_vit_x30"
    width = 96
    heads = 4


class LargeTransformer(PythonTransformer):
    """python_transformer with about 30 times the arithmetic."""

    name = "python_transformer_x30"
    width = 96
    heads = 4


_ALL: dict[str, type[Task]] = {
    **TASKS,
    **{task.name: task for task in (LargeMLP, LargeViT, LargeTransformer)},
}
PAIRS = tuple((task.name, f"{task.name}_x30") for task in (MnistMLP, MnistViT, PythonTransformer))


def candidates(count: int) -> list[Program]:
    """Return so many candidates, the rules of the mix in turn."""
    rules = [live_program(load_rule(name)) for name in RULES]
    return [rules[number % len(rules)] for number in range(count)]


def training_flops(name: str) -> float:
    """Return the arithmetic of matrix products of one step of one model."""
    task = _ALL[name]()
    part = slice(task.batch_size)
    with FlopCounterMode(display=False) as counter:
        output = initial_model(task, 0)(task.splits.train.inputs[part])
        task.loss(output, task.splits.train.targets[part]).backward()
    return float(counter.get_total_flops())


@functools.cache
def stack_of(name: str, steps: int, device: str, compile: bool) -> Stack:
    """Build a task's stack, once in each process, for a run of some steps."""
    if device == "cpu":
        keep_freed_memory()
    task = _ALL[name]()
    task.steps = steps
    return Stack(task, device=device, compile=compile)


def train(name: str, steps: int, device: str, compile: bool, count: int) -> float:
    """Train candidates on one seed each; seconds of the training, without evaluation."""
    stack = stack_of(name, steps, device, compile)
    stack.warm()
    ready = time.perf_counter()
    marks: list[float] = []

    def judge(number: int, left: list[int], losses: Tensor) -> Sequence[bool]:
        marks.append(time.perf_counter())
        return [number == 0] * len(left)  # after the second mark all leave

    first = max(1, steps // 10)
    train_population(stack, candidates(count), [0], checkpoints=(first, steps), judge=judge)
    return (marks[1] - marks[0]) / (steps - first) * steps if len(marks) == 2 else marks[0] - ready


def two_cores(names: Sequence[str], path: Path) -> None:
    """Write candidates a second of two processes of one thread each, as they become known.

    First all tasks as they are, one after the other; then compiled, the kernels of all tasks being
    built side by side.

    Args:
        names: Of the tasks.
        path: A JSON file, ``{task: {"eager": rate, "compiled": rate}}``.
    """
    steps, rates = 20, {name: {} for name in names}
    pairs = {name: [Core(), Core()] for name in names}
    try:
        for compile in (False, True) if has_compiler() else (False,):
            for name, cores in pairs.items():
                for core in cores:
                    core.submit(train, name, steps, "cpu", compile, 8)
            for name, cores in pairs.items():
                for core in cores:
                    core.result()
                count = 8 if name.endswith("x30") else 64
                _, seconds = together(cores, train, name, steps, "cpu", compile, count)
                rate = 2 * count / (_ALL[name].steps / steps * max(seconds))
                rates[name]["compiled" if compile else "eager"] = rate
                path.write_text(json.dumps(rates), encoding="utf-8")
    finally:
        for cores in pairs.values():
            for core in cores:
                core.__exit__()


def gpu_rate(name: str, device: str, compile: bool, count: int) -> Figures:
    """Return candidates a second on the device, and how long its kernels took to build."""
    begin = time.perf_counter()
    steps = _ALL[name].steps
    stack_of(name, steps, device, compile).warm()
    torch.cuda.synchronize()
    built = time.perf_counter() - begin
    train(name, steps, device, compile, count)
    seconds = train(name, steps, device, compile, count)
    return {
        "candidates_per_second": count / seconds,
        "training_flops_per_second": training_flops(name) * steps * count / seconds,
        "build_seconds": built,
        "candidates": count,
    }


def product_peak(device: str, size: int = 8192) -> float:
    """Return FLOP a second of a large float32 matrix product."""
    a = torch.randn(size, size, device=device)
    return 2 * size**3 / timed(lambda: a @ a)


def copy_bandwidth(device: str, size: int = 1 << 30) -> float:
    """Return bytes a second, read and written, of a large copy."""
    a = torch.empty(size // 4, device=device).normal_()
    b = torch.empty_like(a)
    return 2 * size / timed(lambda: b.copy_(a))


def rule_bandwidth(device: str, name: str, tensors: int, rows: int, elements: int) -> float:
    """Return bytes a second that a step of one rule must move, by the kernel."""
    from optforge.training.device_rules import DeviceRules

    program = live_program(load_rule(name))
    layout = Layout((elements // 8,) * 8, device)
    rules = [Interpreter(program, state_kinds(program), layout) for _ in range(tensors)]
    weights = torch.randn(tensors * rows, elements, device=device)
    gradient = torch.randn_like(weights)
    engine = DeviceRules(rules, [[1.0] * 200] * tensors, rows)
    engine.place(list(range(tensors)), weights, gradient)
    moved = 4 * weights.numel() * (3 + 2 * len(program.states))
    return moved / timed(lambda: engine.step(0))


def lion_step(device: str, dtype: torch.dtype, elements: int = 100_000_000) -> Figures:
    """Time steps of Lion and fused AdamW on 20 tensors; the bound is their traffic."""
    parameters = [
        torch.nn.Parameter(torch.randn(elements // 20, device=device, dtype=dtype))
        for _ in range(20)
    ]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    steps: dict[str, Callable[[], Any]] = {
        "lion fused": Lion(parameters, lr=1e-6, fused=True).step,
        "lion foreach": Lion(parameters, lr=1e-6, foreach=True).step,
        "lion fused, nearest, momentum as weights": Lion(
            parameters, lr=1e-6, fused=True, rounding="nearest", momentum_dtype=dtype
        ).step,
        "adamw fused": torch.optim.AdamW(parameters, lr=1e-6, fused=True).step,
        "sgd momentum fused": torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, fused=True).step,
    }
    size = dtype.itemsize
    bandwidth = copy_bandwidth(device)
    figures: Figures = {name: timed(step) * 1e3 for name, step in steps.items()}
    figures["bound of lion, momentum float32"] = elements * (3 * size + 8) / bandwidth * 1e3
    figures["bound of lion, momentum as weights"] = elements * 5 * size / bandwidth * 1e3
    return figures


def timed(function: Callable[[], Any], repeats: int = 20) -> float:
    """Return the median seconds of a call on the device."""
    for _ in range(3):
        function()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times)[repeats // 2]
