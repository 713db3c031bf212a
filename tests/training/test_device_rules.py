"""The rules of many candidates on a device, against the interpreter, element by element."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
import pytest
import torch

from optforge.analysis import state_kinds
from optforge.language import Interpreter, Layout, Program, layout_of, load_rule, parse, rule_names
from tests.strategies import random_program

pytest.importorskip("triton")

SHAPES = [(4, 6), (6,), (6, 4), (4, 6), (), (3, 2, 2)]
STEPS, SEEDS = 3, 2


@pytest.fixture(scope="module")
def device() -> Iterator[str]:
    """The GPU where there is one; else Triton's interpreter, which runs kernels on the CPU."""
    if torch.cuda.is_available():
        yield "cuda"
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        for name in ("rule_kernel", "device_rules"):  # decided when the module is imported
            patch.delitem(sys.modules, f"optforge.training.{name}", raising=False)
            importlib.import_module(f"optforge.training.{name}")
        yield "cpu"


def engine_class() -> Any:
    return importlib.import_module("optforge.training.device_rules").DeviceRules


def layout(device: str) -> Layout:
    return layout_of(SHAPES, device, [True, False, True, True, False, False])


def trajectories(
    programs: Sequence[Program], device: str, tile: int = 64
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Weights of each program after some steps, by the kernel and by the interpreter."""

    where = layout(device)
    rules = [Interpreter(p, state_kinds(p), where) for p in programs]
    schedules = [[1.0, 0.8, 0.1]] * len(rules)
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(len(rules) * SEEDS, where.elements, generator=draw).to(device)
    noise = [torch.randn(start.shape, generator=draw).to(device) for _ in range(STEPS)]

    engine = engine_class()(rules, schedules, SEEDS, tile)
    weights, gradient = start.clone(), torch.empty_like(start)
    engine.place(list(range(len(rules))), weights, gradient)
    with numpy.errstate(all="ignore"):  # Triton's interpreter computes with NumPy
        for step in range(STEPS):
            gradient.copy_(noise[step] + 0.1 * weights)
            engine.step(step)
    return list(weights.split(SEEDS)), by_interpreter(rules, schedules, start, noise)


def report(program: Program) -> Callable[[str], str]:
    return lambda message: f"{message}\n{program}"


def by_interpreter(
    rules: Sequence[Interpreter],
    schedules: Sequence[Sequence[float]],
    start: torch.Tensor,
    noise: Sequence[torch.Tensor],
) -> list[torch.Tensor]:
    results = []
    for number, rule in enumerate(rules):
        rows = slice(number * SEEDS, (number + 1) * SEEDS)
        weights, states = start[rows].clone(), rule.initial_states(SEEDS)
        scalars: list[Any] = rule.schedule(schedules[number])
        for step in range(STEPS):
            gradient = noise[step][rows] + 0.1 * weights
            update, states = rule.step(weights, gradient, states, scalars[step])
            weights = weights - update
        results.append(weights)
    return results


def assert_close(programs: Sequence[Program], device: str) -> None:
    for program, ours, theirs in zip(programs, *trajectories(programs, device), strict=True):
        torch.testing.assert_close(
            ours, theirs, rtol=2e-4, atol=2e-5, equal_nan=True, msg=report(program)
        )


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("adamw_bias_correction", "lion", "lamb", "program_8", "muon"), id="some"),
        pytest.param(rule_names(), id="all", marks=pytest.mark.slow),
    ],
)
def test_shipped_rules_take_the_same_steps(device: str, names: Sequence[str]) -> None:
    """All at once, so that stages of several rules share launches."""
    assert_close([load_rule(name) for name in names], device)


AWKWARD = {
    "states are exchanged": """
def train(w, g, a, b, lr):
    update = a * 0.1
    c = b + g
    return update, c, a
""",
    "the old weight is kept": """
def train(w, g, old, lr):
    d = w - old
    update = d * 0.05
    update = update + g
    return update, w
""",
    "the update is a state": """
def train(w, g, m, lr):
    n = interp(m, g, 0.3)
    return m, n
""",
    "a state for each array, read and written": """
def train(w, g, n, lr):
    length = norm(g)
    next = interp(n, length, 0.5)
    r = n + 0.1
    update = g / r
    update = update * 0.01
    return update, next
""",
    "a scalar state from the whole tree": """
def train(w, g, s, lr):
    d = dot(g, w)
    t = s * 0.5
    t = t + d
    u = sign(g)
    v = tanh(t)
    u = u * v
    update = u * 0.01
    return update, t
""",
    "matrices on both sides": """
def train(w, g, left, lr):
    t = transpose(g)
    square = matmul(g, t)
    left2 = interp(left, square, 0.1)
    u = matmul(left2, g)
    u = orthogonalize(u)
    u = u * lr
    update = u * 0.01
    return update, left2
""",
    "a wide function of a wide function": """
def train(w, g, lr):
    u = orthogonalize(g)
    u = clip(u, 1.5)
    r = row_rms(u)
    c = column_mean(r)
    u = u + c
    k = cosine_sim(u, w)
    u = u * k
    update = where(u, u, g)
    return update
""",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_what_is_read_late_is_not_overwritten_early(name: str, device: str) -> None:
    assert_close([parse(AWKWARD[name])], device)


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, pytest.param(20, marks=pytest.mark.slow)])
def test_random_programs_take_the_same_steps(count: int, device: str) -> None:
    source = random.Random(1)
    programs = [random_program(source) for _ in range(count)]
    for program, ours, theirs in zip(programs, *trajectories(programs, device), strict=True):
        finite = theirs.isfinite() & (theirs.abs() < 1e4)  # beyond, powers tear roundings apart
        torch.testing.assert_close(
            ours[finite], theirs[finite], rtol=1e-3, atol=1e-3, msg=report(program)
        )


def test_candidates_leave_and_the_others_go_on(device: str) -> None:

    where = layout(device)
    rules = [
        Interpreter(load_rule(name), state_kinds(load_rule(name)), where)
        for name in ("adamw", "muon", "lion")
    ]
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(3 * SEEDS, where.elements, generator=draw).to(device)
    gradient = torch.randn(weights.shape, generator=draw).to(device)
    schedules = [[1.0] * STEPS] * 3
    ends = []
    for left in ([0, 1, 2], [0, 2]):
        engine, moving = engine_class()(rules, schedules, SEEDS, 64), weights.clone()
        with numpy.errstate(all="ignore"):
            engine.place([0, 1, 2], moving, gradient)
            engine.step(0)
            rows = torch.tensor([n * SEEDS + s for n in left for s in range(SEEDS)], device=device)
            moving = moving[rows]
            engine.place(left, moving, gradient[rows])
            engine.step(1)
        ends.append(torch.cat([moving[:SEEDS], moving[-SEEDS:]]))
    assert torch.equal(ends[0], ends[1])
