"""A rule run as an optimizer computes what the interpreter computes, and what others compute."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optforge.language import Program, load_rule, parse, rule_names
from optforge.optim import compiler
from optforge.optim.program import ProgramOptimizer
from optforge.optim.rules.states import state_shapes
from tests.helpers.loops import LOOPS
from tests.helpers.parity import (
    Array,
    Scenario,
    States,
    TorchSubject,
    Verdict,
    compare,
    parameters_of,
)
from tests.helpers.plain import WHOLE_TREE
from tests.strategies import random_program

RANDOM = 120
WAYS: dict[str, dict[str, Any]] = {"loop": {"foreach": False}, "foreach": {"foreach": True}}


def subject(program: Program, scenario: Scenario, **options: Any) -> ProgramSubject:
    """The optimizer, its parameters in two groups, so that the tree goes over groups."""
    parameters = parameters_of(scenario)
    groups = [{"params": parameters[:2]}, {"params": parameters[2:]}]
    optimizer = ProgramOptimizer(groups, program, total_steps=scenario.steps, **options)
    return ProgramSubject(optimizer, program)


class ProgramSubject(TorchSubject):
    """A `ProgramOptimizer`, which keeps no states that hidden matrices, or others, never read."""

    def keeps(self, parameter: Tensor, name: str) -> bool:
        assert isinstance(self.optimizer, ProgramOptimizer)
        return name in state_shapes(self.optimizer.graph, parameter, {"matrices": None})


class Reloaded(ProgramSubject):
    """Saved and loaded into a new optimizer before every fourth step."""

    steps = 0

    def step(self, gradient: Array, schedule: float) -> None:
        self.steps += 1
        if self.steps % 4 == 0:
            buffer = io.BytesIO()
            torch.save(self.optimizer.state_dict(), buffer)
            buffer.seek(0)
            groups = [{"params": g["params"]} for g in self.optimizer.param_groups]
            steps = self.optimizer.defaults["total_steps"]
            rule = self.optimizer.rule  # type: ignore
            self.optimizer = ProgramOptimizer(groups, rule, total_steps=steps)
            self.optimizer.load_state_dict(torch.load(buffer, weights_only=True))
        super().step(gradient, schedule)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the very graphs that are handed to the compiler, without compiling each of hundreds."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    compiler.kernels_of.cache_clear()
    yield
    compiler.kernels_of.cache_clear()


def assert_right(verdict: Verdict) -> None:
    assert not verdict.errors, "\n".join(verdict.errors[:5])
    assert verdict.compared > 0


@pytest.mark.parametrize(("way", "steps"), [("loop", 25), ("foreach", 100)])
@pytest.mark.parametrize("name", rule_names())
def test_a_shipped_rule_follows_the_interpreter(name: str, way: str, steps: int) -> None:
    program, scenario = load_rule(name), Scenario(steps=steps)
    verdict = compare(program, subject(program, scenario, **WAYS[way]), scenario)
    assert_right(verdict)
    assert not verdict.by_step and verdict.compared == steps * scenario.layout.elements


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", rule_names())
def test_the_stages_for_the_compiler_follow_the_interpreter(name: str) -> None:
    program, scenario = load_rule(name), Scenario(steps=100)
    verdict = compare(program, subject(program, scenario, fused=True), scenario)
    assert_right(verdict)
    assert not verdict.by_step


@pytest.mark.parametrize("name", rule_names())
def test_a_shipped_rule_goes_on_after_saving_and_loading(name: str) -> None:
    program, scenario = load_rule(name), Scenario(steps=100)
    optimizer = subject(program, scenario).optimizer
    verdict = compare(program, Reloaded(optimizer, program), scenario)
    assert_right(verdict)
    assert not verdict.by_step


def random_verdicts(way: dict[str, Any], count: int) -> Counter[str]:
    totals: Counter[str] = Counter()
    for seed in range(count):
        program = random_program(random.Random(seed))
        scenario = Scenario(steps=8, seed=seed)
        verdict = compare(program, subject(program, scenario, **way), scenario)
        assert not verdict.errors, f"seed {seed}:\n{program}" + "\n".join(verdict.errors[:5])
        totals["by step" if verdict.by_step else "whole path"] += 1
        totals["compared"] += verdict.compared
        totals["undetermined"] += verdict.undetermined
    return totals


def assert_telling(totals: Counter[str], count: int) -> None:
    """Most programs are compared along a whole path, and hardly an element is left out."""
    assert totals["whole path"] + totals["by step"] == count
    assert totals["whole path"] > 0.8 * count
    assert totals["by step"] > 0
    assert totals["undetermined"] < 0.02 * totals["compared"], totals


@pytest.mark.parametrize("way", WAYS)
def test_random_programs_follow_the_interpreter(way: str) -> None:
    assert_telling(random_verdicts(WAYS[way], RANDOM), RANDOM)


@pytest.mark.usefixtures("uncompiled")
def test_random_programs_follow_the_interpreter_in_stages() -> None:
    assert_telling(random_verdicts({"fused": True}, RANDOM), RANDOM)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_many_random_programs_follow_the_interpreter(way: str) -> None:
    assert_telling(random_verdicts(WAYS[way], 3000), 3000)


CHAOTIC = """
def train(w, g, m, lr):
    m = w * 1e9
    m = sin(m)
    m = m + g
    u = m * 0.5
    return u, m
"""
EXPLODING = """
def train(w, g, m, lr):
    m = m + g
    m = exp(m)
    u = m * lr
    return u, m
"""


@pytest.mark.parametrize("text", [CHAOTIC, EXPLODING])
def test_chaotic_and_exploding_programs_are_compared_step_by_step(text: str) -> None:
    program, scenario = parse(text), Scenario(steps=20)
    verdict = compare(program, subject(program, scenario), scenario)
    assert verdict.by_step
    assert_right(verdict)


class Faulty(ProgramSubject):
    """An optimizer with a planted fault."""

    fault = ""

    def step(self, gradient: Array, schedule: float) -> None:
        before, states = self.get() if self.fault == "state" else (None, [])
        super().step(gradient, schedule)
        with torch.no_grad():
            if self.fault == "digit":
                self.parameters[0].mul_(1 + 1e-11)
            if self.fault == "state" and before is not None:
                self.put(self.get()[0], [s * 0.5 for s in states])

    def get(self) -> tuple[Array, States]:
        if not self.optimizer.state:
            return np.zeros(0), []
        return super().get()


@pytest.mark.parametrize("fault", ["", "digit", "state"])
def test_a_planted_fault_is_found(fault: str) -> None:
    program, scenario = load_rule("adamw"), Scenario(steps=10)
    faulty = Faulty(ProgramOptimizer(parameters_of(scenario), program), program)
    faulty.fault = fault
    assert bool(compare(program, faulty, scenario).errors) == bool(fault)


# What others compute ----------------------------------------------------------------------------


def run(optimizer_of: Any, steps: int = 100, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Train two arrays on noisy gradients with a schedule; the weights after each step."""
    source = torch.Generator().manual_seed(3)
    shapes = ((4, 3), (5,))
    draw = [torch.randn(s, generator=source, dtype=torch.float64).to(dtype) for s in shapes]
    weights = [torch.nn.Parameter(w) for w in draw]
    optimizer = optimizer_of(weights)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - 0.9 * step / steps)
    path = []
    for _ in range(steps):
        for w in weights:
            w.grad = torch.randn(w.shape, generator=source, dtype=torch.float64).to(dtype)
        optimizer.step()
        scheduler.step()
        path.append(torch.cat([w.detach().flatten().clone() for w in weights]))
    return path


def assert_paths(got: list[Tensor], want: list[Tensor], tolerance: float) -> None:
    for number, (a, b) in enumerate(zip(got, want, strict=True)):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=f"step {number}")


@pytest.mark.parametrize("way", WAYS)
def test_adamw_with_bias_correction_is_that_of_torch(way: str) -> None:
    """The two place the guard of the division alike: sqrt(v) / correction + 1e-8."""
    options = {"weight_decay": 0.02, "betas": (0.8, 0.95)}
    ours = run(lambda w: ProgramOptimizer(w, "adamw_bias_correction", 0.01, **options, **WAYS[way]))
    theirs = run(lambda w: torch.optim.AdamW(w, 0.01, eps=1e-8, **options))
    assert_paths(ours, theirs, 1e-13)


def test_adamw_with_bias_correction_is_that_of_torch_in_float32() -> None:
    ours = run(lambda w: ProgramOptimizer(w, "adamw_bias_correction"), dtype=torch.float32)
    theirs = run(lambda w: torch.optim.AdamW(w, 0.001), dtype=torch.float32)
    assert_paths(ours, theirs, 2e-6)


def test_momentum_is_that_of_torch() -> None:
    """torch adds decay to the gradient, the rule to the update: the same without decay."""
    options: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.0}
    ours = run(lambda w: ProgramOptimizer(w, "momentum_sgd", 0.05, **options))
    theirs = run(lambda w: torch.optim.SGD(w, 0.05, **options))
    assert_paths(ours, theirs, 1e-13)


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_rules_are_what_plain_loops_compute(name: str) -> None:
    source = np.random.default_rng(5)
    weights, grads = source.normal(size=9), source.normal(size=(60, 9)) * 0.3
    lrs = np.linspace(1, 0.2, 60).tolist()
    want = LOOPS[name](grads, weights, lrs)
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    optimizer = ProgramOptimizer([parameter], name)
    for gradient, lr, expected in zip(grads, lrs, want, strict=True):
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.param_groups[0]["schedule"] = lr
        optimizer.step()
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_lion_is_that_of_optax() -> None:
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    source = np.random.default_rng(6)
    weights, grads = source.normal(size=(3, 4)), source.normal(size=(100, 3, 4))
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    ours = ProgramOptimizer([parameter], "lion", 0.003, betas=(0.9, 0.98), weight_decay=0.2)
    with jax.enable_x64(True):
        theirs = optax.lion(0.003, b1=0.9, b2=0.98, weight_decay=0.2)
        values = jax.numpy.asarray(weights)
        state = theirs.init(values)
        for gradient in grads:
            parameter.grad = torch.from_numpy(gradient.copy())
            ours.step()
            updates, state = theirs.update(jax.numpy.asarray(gradient), state, values)
            values = optax.apply_updates(values, updates)
            np.testing.assert_allclose(parameter.detach().numpy(), values, rtol=0, atol=1e-14)


def test_tree_wide_functions_see_all_groups() -> None:
    """Two groups compute what one does, and what the interpreter does on one row."""
    program, scenario = parse(WHOLE_TREE), Scenario(steps=40, shapes=((3, 2), (4,), (1, 2)))
    for way in WAYS.values():
        assert_right(compare(program, subject(program, scenario, **way), scenario))
