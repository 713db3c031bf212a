"""Times and memory of optimizer steps, repeats interleaved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from optforge.optim import lion_steps
from optforge.optim.program import ProgramOptimizer
from optforge.optim.rules.fused import fuses
from optforge.optim.steps import paths

from .contestants import Contestant
from .machine import Spread, spread

Clock = Callable[[], float]
SLOW = 1.5  # seconds: a step that takes longer is repeated only a few times
FEW = 3
SHORT = 0.02  # seconds: shorter measurements repeat the step within


@dataclass(frozen=True)
class Size:
    """How many parameters in how many tensors of which dtype."""

    name: str
    elements: int
    tensors: int
    dtype: torch.dtype

    def parameters(self) -> list[Tensor]:
        """Make parameters with gradients; all optimizers of a size share them."""
        generator = torch.Generator().manual_seed(0)
        each = self.elements // self.tensors
        made = []
        for _ in range(self.tensors):
            row = 320 if each % 320 == 0 else 50  # whole blocks of 64 where they fit
            values = torch.randn(each // row, row, generator=generator)
            parameter = torch.nn.Parameter(values.to(self.dtype))
            parameter.grad = torch.randn(values.shape, generator=generator).to(self.dtype)
            made.append(parameter)
        return made


@dataclass
class Row:
    """What was measured of one contestant."""

    name: str
    step: Callable[[], Any]
    optimizer: torch.optim.Optimizer
    inner: int = 1
    times: list[float] = field(default_factory=list)
    state_bytes: float = 0.0
    peak_extra: float = 0.0
    ran: str = ""  # what ran instead of the path that the name says

    @property
    def spread(self) -> Spread:
        return spread(self.times)


def time_size(
    size: Size,
    contestants: Sequence[Contestant],
    repeats: int,
    say: Callable[[str], Any],
    clock: Clock = time.perf_counter,
) -> tuple[list[Row], list[float], dict[str, str]]:
    """Time all contestants on one size, by wall time or by that of the processor.

    Returns:
        The rows; the times of the in-place kernel, as many; and why others are missing.
    """
    parameters = size.parameters()
    rows, missing = [], {}
    for contestant in contestants:
        if not contestant.installed:
            missing[contestant.name] = f"{contestant.package} is not installed"
            continue
        try:
            rows.append(_ready(contestant, parameters, size))
        except Exception as error:  # another package may refuse a dtype; that is a result too
            missing[contestant.name] = f"{type(error).__name__}: {error}".split("\n")[0][:120]
    flat = torch.zeros(size.elements * size.dtype.itemsize // 4)
    flat.add_(1.0)
    kernel = []
    for repeat in range(repeats):
        say(f"{size.name}: repeat {repeat + 1} of {repeats}")
        kernel.append(_seconds(lambda: flat.add_(1.0), 1 if flat.numel() > 5e6 else 10, clock))
        for row in rows:
            if len(row.times) < FEW or row.times[0] < SLOW:
                row.times.append(_seconds(row.step, row.inner, clock))
    return rows, kernel, missing


def _ready(contestant: Contestant, parameters: list[Tensor], size: Size) -> Row:
    """Make an optimizer, run its first steps, take its memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lr under the resolution of bfloat16, and the like
        optimizer = contestant.make(parameters)
        step = optimizer.step
        ran = ran_instead(optimizer)
        step()
    first = _seconds(step, 1)
    row = Row(contestant.name, step, optimizer, max(1, min(20, int(SHORT / max(first, 1e-6)))))
    row.ran = ran
    row.peak_extra = peak_extra_bytes(step)
    row.state_bytes = state_bytes(optimizer) / size.elements
    return row


def ran_instead(optimizer: torch.optim.Optimizer) -> str:
    """Make a step; say what ran if fused=True was asked for and (partly) not done, else nothing."""
    if isinstance(optimizer, ProgramOptimizer):
        optimizer.step()
        asked = [group for group in optimizer.param_groups if group["fused"]]
        return "foreach: no compiler" if any(not fuses(group) for group in asked) else ""
    foreach, count = paths.foreach_step, 0

    def counting(leaves: Sequence[Any], *rest: Any) -> None:
        nonlocal count
        count += len(leaves)
        foreach(leaves, *rest)

    plain = lion_steps.plain_foreach

    def counting_plain(members: Sequence[Any], *rest: Any) -> Any:
        nonlocal count
        left = plain(members, *rest)
        count += (len(members) - len(left)) * (rest[-1] == paths.FEW_ON_CPU)
        return left

    with (
        mock.patch.object(paths, "foreach_step", counting),
        mock.patch.object(lion_steps, "plain_foreach", counting_plain),
    ):
        optimizer.step()
    total = sum(len(group["params"]) for group in optimizer.param_groups)
    why = "too small or blocks not full" if paths.has_compiler() else "no compiler"
    return f"foreach for {count} of {total} tensors: {why}" if count else ""


def _seconds(step: Callable[[], Any], inner: int, clock: Clock = time.perf_counter) -> float:
    begin = clock()
    for _ in range(inner):
        step()
    return (clock() - begin) / inner


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Count the bytes of all distinct tensors in the state."""
    tensors = {
        value.data_ptr(): value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.numel() > 0
    }
    return sum(tensors.values())


def peak_extra_bytes(step: Callable[[], Any]) -> int:
    """Return the most bytes that a step holds at once beyond what was there before it."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step()
    events: Any = profile.profiler
    changes = [
        (event.start_ns(), event.nbytes())
        for event in events.kineto_results.events()
        if event.name() == "[memory]"
    ]
    now = most = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        now += change
        most = max(most, now)
    return most


def first_steps(elements: int) -> dict[str, Any]:
    """Time the first fused step of 400 tensors in new processes, caches empty and full."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder}
        runs = []
        for _ in range(2):
            command = [sys.executable, "-c", _FIRST.format(path=sys.path, elements=elements)]
            done = subprocess.run(command, env=environment, capture_output=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        "parameters": elements,
        "cold_seconds": runs[0]["seconds"],
        "warm_seconds": runs[1]["seconds"],
        "graphs": runs[0]["graphs"],
        "new_graphs_for_other_rates": runs[0]["new"],
    }


_FIRST = """
import sys
sys.path[:] = {path!r}
from measures.steps import first_step
first_step({elements})
"""


def first_step(elements: int) -> None:
    """Print, as JSON, what `first_steps` asks of a new process."""
    from optforge.optim.lion import Lion

    parameters = Size("", elements, 400, torch.float32).parameters()
    lion = Lion(parameters, lr=1e-4, fused=True)
    begin = time.perf_counter()
    lion.step()
    seconds, before = time.perf_counter() - begin, _graphs()
    for lr in (3e-4, 1e-5, 0.0, 1e-3):
        lion.param_groups[0]["lr"] = lr
        lion.step()
    print(json.dumps({"seconds": seconds, "graphs": before, "new": _graphs() - before}))


def _graphs() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
