"""Rules that look at rows, matrices and the clock, as optimizers, beside the interpreter."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optforge.language import Program, parse
from optforge.optim import compiler
from optforge.optim.program import ProgramOptimizer
from optforge.optim.rules.arrays import orthogonalize_each
from optforge.optim.rules.batches import pieces_of, rule_batches
from optforge.optim.rules.states import state_shapes
from tests.helpers.parameters import SHAMPOO, parameter, train
from tests.helpers.parity import Scenario, TorchSubject, Verdict, compare, parameters_of
from tests.strategies import ALL, SHAPING, random_program

# Matrices wide, tall, square, of one row and one column, of more dimensions; some alike.
SHAPES = ((3, 2), (2, 5), (3, 2), (4, 4), (2, 3, 2), (1, 3), (4, 1), (5,), (), (0, 3))
ROLES = (True, True, False, True, True, False, False, False, False, False)
WAYS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "stages": {"fused": True},
}

MASKS = """
def train(w, g, m, lr):
    m = interp(g, m, 0.9)
    level = mean(m)
    size = rms(g)
    agrees = m * g
    u = where(agrees, m, 0.0)
    u = where(level, u, size)
    number = where_matrix(2.0, 3.0)
    u = u * number
    one = where(g, 1.0, -1.0)
    u = u + one
    u = u * 0.01
    return u, m
"""
ROWS = """
def train(w, g, v, lr):
    a = row_norm(g)
    b = column_norm(g)
    c = row_mean(w)
    d = column_mean(w)
    e = row_rms(g)
    f = column_rms(g)
    v = interp(f, v, 0.9)
    u = g / a
    u = u + b
    u = u - c
    u = u + d
    e = e + v
    u = u / e
    done = get_progress()
    left = 1.0 - done
    u = u * left
    step = get_step()
    u = u / step
    u = u * 0.01
    return u, v
"""
SPREAD = """
def train(w, g, s, lr):
    turned = transpose(g)
    outer = matmul(g, turned)
    one = where_matrix(2.0, outer)
    s = where_matrix(s, 0.5)
    s = s + one
    u = matmul(s, g)
    other = where_matrix(g, 1.0)
    u = u + other
    u = u * 0.001
    return u, s
"""
RULES = {"shampoo": SHAMPOO, "masks": MASKS, "rows": ROWS, "spread": SPREAD}


class Subject(TorchSubject):
    """The optimizer, hidden matrices told by their groups."""

    def keeps(self, parameter: Tensor, name: str) -> bool:
        assert isinstance(self.optimizer, ProgramOptimizer)
        role = self.layout.matrices[
            next(i for i, p in enumerate(self.parameters) if p is parameter)
        ]
        return name in state_shapes(self.optimizer.graph, parameter, {"matrices": role})


def verdict_of(program: Program, scenario: Scenario, **options: Any) -> Verdict:
    assert scenario.matrices is not None
    groups = [
        {"params": [p], "matrices": role}
        for p, role in zip(parameters_of(scenario), scenario.matrices, strict=True)
    ]
    optimizer = ProgramOptimizer(groups, program, total_steps=scenario.steps, **options)
    return compare(program, Subject(optimizer, program, layout=scenario.layout), scenario)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the very graphs that are handed to the compiler, without compiling each."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    compiler.kernels_of.cache_clear()
    yield
    compiler.kernels_of.cache_clear()


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", RULES)
def test_a_rule_follows_the_interpreter(name: str, way: str) -> None:
    scenario = Scenario(SHAPES, steps=20, matrices=ROLES)
    verdict = verdict_of(parse(RULES[name]), scenario, **WAYS[way])
    assert not verdict.errors, "\n".join(verdict.errors[:5])
    assert verdict.compared > 0


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("functions", [ALL, SHAPING], ids=["all", "shaping"])
@pytest.mark.parametrize("way", WAYS)
def test_random_programs_follow_the_interpreter(way: str, functions: tuple[str, ...]) -> None:
    for seed in range(40):
        program = random_program(random.Random(seed), functions)
        scenario = Scenario(SHAPES, steps=4, seed=seed, matrices=ROLES)
        verdict = verdict_of(program, scenario, **WAYS[way])
        assert not verdict.errors, f"seed {seed}:\n{program}" + "\n".join(verdict.errors[:5])


@pytest.mark.skipif(not compiler.find_compiler(), reason="needs a C++ compiler")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["shampoo", "rows"])
def test_a_compiled_rule_follows_the_interpreter(name: str) -> None:
    scenario = Scenario(((3, 2), (2, 2, 2), (4,)), steps=10, matrices=(True, True, False))
    verdict = verdict_of(parse(RULES[name]), scenario, fused=True)
    assert not verdict.errors, "\n".join(verdict.errors[:5])


@pytest.mark.skipif(not compiler.find_compiler(), reason="needs a C++ compiler")
def test_a_compiled_rule_has_no_second_compilation_and_really_is_compiled() -> None:
    weights = [parameter(6, 4, dtype=torch.float32), parameter(9, dtype=torch.float32)]
    optimizer = ProgramOptimizer(weights, "muon", fused=True)
    train(optimizer, 1)
    group = optimizer.param_groups[0]
    pieces = pieces_of(optimizer.graph, optimizer.state, group, list(weights))
    batches = list(rule_batches(pieces, group, 0))
    assert len(batches) == 2 and all(batch.batch.is_compiled for batch in batches)
    with torch._dynamo.config.patch(error_on_recompile=True):
        optimizer.param_groups[0]["lr"] = 0.5
        train(optimizer, 2, 1)


def test_matrices_of_one_shape_are_orthogonalised_together_as_one_by_one() -> None:
    source = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (2, 5), (4, 3), (2, 1, 5), (4, 3))
    matrices = [torch.randn(shape, generator=source).double() for shape in shapes]
    together = orthogonalize_each(matrices)
    for x, result in zip(matrices, together, strict=True):
        assert result.shape == x.shape
        torch.testing.assert_close(result, orthogonalize_each([x])[0], rtol=1e-12, atol=1e-12)


def test_a_muon_rule_is_that_of_torch() -> None:
    """Theirs takes its steps in bfloat16, so that the tolerance is wide."""
    text = """
def train(w, g, m, lr):
    m = m * 0.95
    m = m + g
    ahead = m * 0.95
    ahead = ahead + g
    u = orthogonalize(ahead)
    u = u * 0.2
    wd = w * 0.1
    u = u + wd
    lr = lr * 0.02
    u = u * lr
    return u, m
"""
    # "match_rms_adamw" is 0.2 sqrt(max(rows, columns)), as 0.2 times `orthogonalize` is.
    settings: dict[str, Any] = {"momentum": 0.95, "weight_decay": 0.1, "nesterov": True}
    weights = [[parameter(*s, dtype=torch.float32) for s in ((8, 20), (16, 16))] for _ in "ab"]
    starts = torch.cat([w.detach().flatten() for w in weights[0]]).double()
    ours = train(ProgramOptimizer(weights[0], parse(text)), 20)
    # torch averages (lerp): scaled by 1 - momentum, which orthogonalising forgets.
    muon = torch.optim.Muon(weights[1], lr=0.02, adjust_lr_fn="match_rms_adamw", **settings)
    theirs = train(muon, 20)
    moved = (theirs - starts).norm()
    assert (ours - theirs).norm() < 0.03 * moved


def test_muon_of_optax_is_a_rule() -> None:
    jax = pytest.importorskip("jax")
    contrib = pytest.importorskip("optax.contrib")
    optax = pytest.importorskip("optax")
    text = """
def train(w, g, m, lr):
    m = interp(g, m, 0.9)
    u = orthogonalize(m)
    u = u * 0.25
    u = u * 0.02
    u = u * lr
    return u, m
"""  # sqrt(16) 0.25 is the scale max(1, sqrt(rows / columns)) of optax on a square of 16
    source = np.random.default_rng(0)
    start, gradients = source.normal(size=(16, 16)), source.normal(size=(20, 16, 16))
    weight = nn.Parameter(torch.from_numpy(start).float())
    ours = ProgramOptimizer([weight], parse(text))
    theirs = contrib.muon(0.02, beta=0.9, nesterov=False, weight_decay=0.0)
    values = jax.numpy.asarray(start, jax.numpy.float32)
    state, step = theirs.init(values), jax.jit(theirs.update)  # else compiled anew in each step
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient).float()
        ours.step()
        updates, state = step(jax.numpy.asarray(gradient, "float32"), state, values)
        values = optax.apply_updates(values, updates)
    np.testing.assert_allclose(weight.detach().numpy(), values, rtol=1e-3, atol=1e-3)
