"""Exported rules that see rows, columns, hidden matrices, masks and the clock."""

from __future__ import annotations

import ast
import inspect
import random
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from optforge.analysis import reads_gradient
from optforge.exporters import export
from optforge.language import Program, parse
from tests.helpers.exported import module_of, optimizer_of
from tests.helpers.parity import Scenario, compare
from tests.helpers.rich import rich_program
from tests.helpers.subjects import ExportedOptax, ExportedTorch
from tests.strategies import SHAPING, random_program

SHAPES = ((3, 2), (4,), (), (0,), (1, 2), (2, 3, 2), (5, 2))
SOME = (True, False, False, False, True, True, False)  # the last one is an embedding
FUNCTIONS = (*SHAPING, "get_progress", "rms", "column_rms")

BODIES = {
    "muon": (
        "m",
        "m = interp(g, m, 0.95)\nn = interp(g, m, 0.95)\no = orthogonalize(n)\nc = m * g\n"
        "o = where(c, o, 0.0)\nfew = where_matrix(0.2, 0.05)\nu = o * few",
    ),
    "both sides": (
        "left right",
        "t = transpose(g)\nrows = matmul(g, t)\ncolumns = matmul(t, g)\n"
        "left = interp(rows, left, 0.9)\nright = interp(columns, right, 0.9)\n"
        "u = matmul(left, g)\nu = matmul(u, right)\nl = orthogonalize(left)\nu = tanh(u)\n"
        "o = matmul(l, g)\nu = u + o",
    ),
    "there and back": (
        "turned",
        "t = transpose(g)\nturned = interp(t, turned, 0.8)\nc = column_rms(turned)\n"
        "turned2 = turned / c\nu = transpose(turned2)\nr = row_mean(turned)\nb = transpose(r)\n"
        "u = u + b",
    ),
    "lines": (
        "m",
        "a = row_mean(g)\nb = row_norm(w)\nc = row_rms(g)\nd = column_mean(w)\ne = column_norm(g)\n"
        "m = column_rms(g)\nu = a + b\nu = u / c\nu = u + d\nu = u * e\nu = u + m",
    ),
    "numbers": (
        "m n k",
        "m = mean(g)\nn = rms(g)\nk = get_step()\np = row_norm(m)\nq = column_mean(n)\n"
        "o = orthogonalize(m)\np = p + q\np = p + o\nu = g * p\nz = rms(k)\nz = 1.0 / z\nu = u * z",
    ),
    "roles": (
        "m n",
        "m = where_matrix(w, g)\nn = where_matrix(0.5, 2.0)\na = where_matrix(n, g)\n"
        "b = where_matrix(g, lr)\nc = where_matrix(0.3, w)\nd = rms(g)\ne = where_matrix(d, 0.1)\n"
        "size = norm(a)\nu = a * b\nu = u + c\nu = u * e\nu = u / size",
    ),
    "masks": (
        "m",
        "m = norm(g)\na = where(g, 0.5, -0.5)\nb = where(lr, g, m)\nc = where(-1.0, g, 0.5)\n"
        "d = where(m, 1.0, w)\ns = m - 1.0\ne = where(s, 0.3, 0.7)\nf = where(lr, 0.2, 0.4)\n"
        "u = a + b\nu = u + c\nu = u * d\nu = u * e\nu = u * f",
    ),
    "clock": (
        "k",
        "k = get_step()\np = get_progress()\nrest = 1.0 - p\nb = 0.9 ** k\nc = 1.0 - b\n"
        "u = g / c\nu = u * rest",
    ),
    "tree": (
        "m",
        "m = interp(g, m, 0.9)\nt = transpose(m)\nl = dot(t, t)\nr = get_progress()\n"
        "u = clip(m, 1.0)\nn = where_matrix(2.0, 1.0)\nu = u * n\nl = tanh(l)\nu = u * l\n"
        "o = orthogonalize(u)\no = clip(o, r)\nu = u + o",
    ),
    "views": ("a b", "a = transpose(w)\nb = where_matrix(w, g)\nt = transpose(a)\nu = t + b"),
    "swap": ("a b", "c = transpose(g)\nc = b + c\nu = transpose(a)\nu = u + g"),
}


def program_of(name: str) -> Program:
    states, body = BODIES[name]
    lines = [*body.splitlines(), "rate = lr * 0.02", "u = u * rate"]
    head = f"def train({', '.join(['w', 'g', *states.split(), 'lr'])}):\n"
    returned = ["c", "a"] if name == "swap" else states.split()
    end = f"    return {', '.join(['u', *returned])}\n"
    return parse(head + "".join(f"    {line}\n" for line in lines) + end)


@pytest.fixture(autouse=True)
def wide_numbers() -> Iterator[None]:
    with jax.enable_x64(True), np.errstate(all="ignore"):
        yield


def check(program: Program, target: str, scenario: Scenario, jit: bool = False) -> None:
    half = scenario.steps // 2
    if target == "torch":
        verdict = compare(program, ExportedTorch(program, scenario, half), scenario)
    else:
        verdict = compare(program, ExportedOptax(program, scenario, half, jit), scenario)
    assert verdict.compared > 0
    assert not verdict.errors, "\n".join([program.text, *verdict.errors[:5]])


@pytest.mark.parametrize(
    ("target", "matrices"),
    [
        pytest.param("torch", None, id="torch-by shape"),
        pytest.param("torch", SOME, id="torch-told"),
        pytest.param("optax", None, id="optax-by shape"),
        pytest.param("optax", SOME, id="optax-told", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", BODIES)
def test_rules_are_the_interpreters_saved_half_way(name: str, target: str, matrices: Any) -> None:
    scenario = Scenario(SHAPES, steps=12, matrices=matrices)
    check(program_of(name), target, scenario, jit=matrices is None)


@pytest.mark.parametrize(
    ("target", "count"),
    [
        ("torch", 15),
        ("optax", 4),
        pytest.param("torch", 60, marks=pytest.mark.slow),
        pytest.param("optax", 60, marks=pytest.mark.slow),
    ],
)
def test_random_rules_that_change_shapes(target: str, count: int) -> None:
    done, seed = 0, 10**6
    while done < count:
        if seed % 3:
            program = rich_program(seed, FUNCTIONS)
        else:
            program = random_program(random.Random(seed), FUNCTIONS)
        if reads_gradient(program):
            matrices = SOME if seed % 2 else None
            check(program, target, Scenario(SHAPES, steps=6, seed=seed, matrices=matrices))
            done += 1
        seed += 1


def made(name: str, target: str = "torch") -> Any:
    module = module_of(program_of(name), target)
    return optimizer_of(module) if target == "torch" else module.rule


def test_all_steps_must_be_known_where_a_rule_reads_the_progress() -> None:
    params = [torch.nn.Parameter(torch.zeros(2))]
    for make in (lambda **more: made("clock")(params, **more), made("clock", "optax")):
        with pytest.raises(TypeError, match="total_steps"):
            make()
        with pytest.raises(ValueError, match="total_steps is 0; it must be at least 1"):
            make(total_steps=0)
    with pytest.raises(ValueError, match="total_steps is 0"):
        made("clock")([{"params": params, "total_steps": 0}], total_steps=5)


def test_roles_are_true_false_or_none() -> None:
    params = [torch.nn.Parameter(torch.zeros(2, 2))]
    with pytest.raises(ValueError, match="matrices is no; it must be True, False or None"):
        made("roles")(params, matrices="no")
    with pytest.raises(ValueError, match="did you mean matrices"):
        made("roles")([{"params": params, "matrixes": True}])


@pytest.mark.parametrize("name", ["muon", "tree"])
def test_a_group_of_torch_says_what_is_looked_up(name: str) -> None:
    table, hidden = (torch.nn.Parameter(torch.ones(3, 4)) for _ in range(2))
    settings = {"total_steps": 10} if name == "tree" else {}
    groups = [{"params": [table], "matrices": False}, {"params": [hidden]}]
    optimizer = made(name)(groups, **settings)
    for parameter in (table, hidden):
        parameter.grad = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    assert not torch.equal(table, hidden)
    assert [group["matrices"] for group in optimizer.state_dict()["param_groups"]] == [False, None]


@pytest.mark.parametrize(
    "matrices",
    [
        {"embed": False, "block": {"a": True, "b": True}},
        {"embed": False, "block": True},
        lambda tree: {name: name != "embed" for name in tree},
    ],
    ids=["whole", "first level", "function"],
)
def test_bools_of_optax_say_what_is_looked_up(matrices: Any) -> None:
    params = {"embed": jnp.ones((3, 4)), "block": {"a": jnp.ones((3, 4)), "b": jnp.ones(2)}}
    source = np.random.default_rng(0)
    gradients = jax.tree.map(lambda x: jnp.asarray(source.normal(size=x.shape)), params)
    told, by_shape = made("both sides", "optax")(matrices=matrices), made("both sides", "optax")()
    state = told.init(params)
    assert state.left["embed"].shape == (3, 4) and state.left["block"]["a"].shape == (3, 3)
    updates, state = jax.jit(told.update)(gradients, state, params)
    others, _ = by_shape.update(gradients, by_shape.init(params), params)
    assert not jnp.allclose(updates["embed"], others["embed"])
    assert jnp.allclose(updates["block"]["a"], others["block"]["a"])


@pytest.mark.parametrize("name", BODIES)
def test_transformations_of_optax_still_work(name: str) -> None:
    settings = {"total_steps": 10} if "get_progress" in program_of(name).text else {}
    make, params = made(name, "optax"), {"a": jnp.ones((2, 3)), "b": jnp.ones(2)}
    gradients = jax.tree.map(jnp.ones_like, params)
    plain = make(**settings)
    updates, state = jax.jit(plain.update)(gradients, plain.init(params), params)
    static = [n for n in inspect.signature(make).parameters if n in ("matrices", "total_steps")]
    injected = optax.inject_hyperparams(make, static_args=static)(**settings)
    again, _ = jax.jit(injected.update)(gradients, injected.init(params), params)
    masked = optax.masked(plain, {"a": True, "b": True})
    third, _ = masked.update(gradients, masked.init(params), params)
    for other in (again, third):
        jax.tree.map(np.testing.assert_allclose, other, updates)
    optax.tree.map_params(plain, lambda x: x + 1, state)
    empty, _ = plain.update({}, plain.init({}), {})
    assert empty == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_keep_the_dtype_and_the_shape_that_they_have(dtype: torch.dtype) -> None:
    weight = torch.nn.Parameter(torch.randn(3, 2, 2, dtype=dtype))
    optimizer = made("both sides")([weight])
    for _ in range(3):
        weight.grad = torch.randn(3, 2, 2, dtype=dtype)
        optimizer.step()
    left, right = optimizer.state[weight].values()
    assert left.shape == (3, 3) and right.shape == (4, 4)
    assert left.dtype == right.dtype == dtype and weight.isfinite().all()


@pytest.mark.parametrize("target", ["torch", "optax"])
@pytest.mark.parametrize("name", BODIES)
def test_helpers_are_written_only_where_they_are_called(name: str, target: str) -> None:
    tree = ast.parse(export(program_of(name), target, "rule"))
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    loaded = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name)]
    assert [d for d in defined if d not in loaded and d != "rule"] == []
    helpers = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    assert all(ast.get_docstring(helper) for helper in helpers)


def test_latex_says_in_words_what_a_formula_leaves_open() -> None:
    text = export(program_of("muon"), "latex", "muon")
    assert r"\operatorname{orthogonalize}(n)" in text
    assert r"[c \geq 0 \,?\," in text and "otherwise $y$" in text
    assert "Jordan et al., Muon, 2024" in text and "no embeddings" in text
    text = export(program_of("both sides"), "latex", "both")
    assert r"{g}^\top" in text and r"$\cdot$ is the product of hidden matrices" in text
    assert "share of all steps" in export(program_of("clock"), "latex", "clock")
