"""What optax demands of optimizers that are contributed to it, of every exported rule."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optforge.exporters.plan import plan
from optforge.language import load_rule, parse, rule_names
from tests.helpers.exported import module_of

EVERY = rule_names()
NO_STATES = parse("def train(w, g, lr):\n    u = g * 0.1\n    u = u * lr\n    return u\n")
ALL_KINDS = parse(
    "def train(w, g, m, size, count, lr):\n    m = interp(g, m, 0.9)\n    size = norm(m)\n"
    "    count = count + 1.0\n    total = dot(m, g)\n    t = tanh(total)\n    u = m * t\n"
    "    u = u / size\n    u = u / count\n    lr = lr * 0.01\n    u = u * lr\n"
    "    return u, m, size, count\n"
)
EXTRA = {"without states": NO_STATES, "all kinds": ALL_KINDS}

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
# name: (learning rate, size of the minimum), from the table of the page
RATES = {
    name: (float(rate), float(size))
    for name, rate, size in re.findall(r"^\| (\w+) \| ([\d.e-]+) \| ([\d.]+) \|$", PAGE, re.M)
}


@lru_cache
def factory(name: str) -> Callable[..., optax.GradientTransformationExtraArgs]:
    program = EXTRA.get(name) or load_rule(name)
    return module_of(program, "optax").rule


# These differ in what their files hold; the others run with the slow tests.
FEW = ("lion", "adamw_bias_correction", "program_8", *EXTRA)


def names() -> list[Any]:
    slow = (pytest.param(name, marks=pytest.mark.slow) for name in EVERY if name not in FEW)
    return [*FEW, *slow]


def parabola(dtype: Any, size: float = 1.0) -> tuple[Any, Any, Callable[[Any], Any]]:
    start = {"a": jnp.array([-1.0, 2.0, 1.0], dtype), "b": jnp.array([[0.5]], dtype)}
    end = {"a": jnp.array([1.0, -1.0, 1.0], dtype), "b": jnp.array([[-0.5]], dtype)}
    end = {key: size * value for key, value in end.items()}

    def loss(params: Any) -> Any:
        return sum(jnp.sum((params[k] - end[k]) ** 2) for k in end)

    return start, end, loss


@pytest.mark.parametrize("name", names())
def test_extra_arguments_are_accepted_and_nothing_is_compiled_twice(name: str) -> None:
    optimizer = factory(name)()
    params, _, loss = parabola(jnp.float32)
    traced = []

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        traced.append(1)
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params, value=value, unexpected=1)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(3):
        params, state = step(params, state)
    assert len(traced) == 1


@pytest.mark.parametrize("name", names())
def test_inject_hyperparams(name: str) -> None:
    make = factory(name)
    plain, injected = make(), optax.inject_hyperparams(make)()
    params = [-jnp.ones((2, 3)), jnp.ones((2, 5, 2))]
    gradients = [jnp.ones((2, 3)), -jnp.ones((2, 5, 2))]
    state, state_injected = jax.jit(plain.init)(params), jax.jit(injected.init)(params)
    for _ in range(2):
        updates, state = jax.jit(plain.update)(gradients, state, params)
        again, state_injected = jax.jit(injected.update)(gradients, state_injected, params)
    assert_close(again, updates, 1e-5)
    assert_close(state_injected.inner_state, state, 1e-5)
    parameters = {*inspect.signature(make).parameters} - {"matrices"}  # no number
    assert {*state_injected.hyperparams} == parameters


def assert_close(got: Any, expected: Any, tolerance: float) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize(
    "dtype",
    [
        jnp.bfloat16,
        jnp.float64,
        *(pytest.param(d, marks=pytest.mark.slow) for d in (jnp.float16, jnp.float32)),
    ],
)
@pytest.mark.parametrize("name", names())
def test_dtypes_and_shapes_of_updates_and_states_stay(name: str, dtype: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        rate = optax.linear_schedule(0.01, 0.001, 10)  # float32, to confuse dtypes
        optimizer = factory(name)(learning_rate=rate)
        params, _, loss = parabola(dtype)
        state = optimizer.init(params)
        updates, after = jax.jit(optimizer.update)(jax.grad(loss)(params), state, params)
        assert described(updates) == described(params)
        assert described(after) == described(state)

        def either(flag: Any) -> Any:  # lax.cond refuses branches that differ
            new = optimizer.update(jax.grad(loss)(params), state, params)
            return jax.lax.cond(flag, lambda: new, lambda: (params, state))

        jax.jit(either)(jnp.array(True))


def described(tree: Any) -> list[Any]:
    leaves, structure = jax.tree.flatten(tree)
    return [structure, *((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves)]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float32, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", names())
def test_gradient_accumulation(name: str, dtype: Any) -> None:
    optimizer = optax.MultiSteps(factory(name)(), every_k_schedule=2)
    params = jnp.array([1.0, 2.0], dtype)
    gradients = jnp.array([2.0, 4.0], dtype)
    state = jax.jit(optimizer.init)(params)
    first, state = jax.jit(optimizer.update)(gradients, state, params)
    assert (first == 0).all() and first.dtype == dtype
    second, state = jax.jit(optimizer.update)(gradients, state, params)
    once, _ = factory(name)().update(gradients, factory(name)().init(params), params)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.02
    np.testing.assert_allclose(second.astype(float), once.astype(float), rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize("name", names())
def test_tree_map_params(name: str) -> None:
    optimizer = factory(name)()
    params, _, _ = parabola(jnp.float32)
    state = optimizer.init(params)
    doubled = optax.tree.map_params(optimizer, lambda x: x + 1, state)
    trees = [s for s in plan(EXTRA.get(name) or load_rule(name)).states if s.kind > 0]
    changed = sum(
        bool((x != y).any())
        for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(doubled), strict=True)
        if x.shape == y.shape
    )
    assert changed == len(trees) * len(jax.tree.leaves(params))


def check_two_devices(name: str) -> None:
    """Parameters and states cut in two: the updates are as without, and stay cut."""
    first, second = jax.devices()
    mesh = jax.sharding.Mesh(np.array([first, second]), ("x",))
    cut = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    optimizer = factory(name)()
    source = np.random.default_rng(0)
    shapes = {"a": (4, 3), "b": (2,)}
    params, *gradients = (
        {key: jnp.asarray(source.normal(size=s), jnp.float32) for key, s in shapes.items()}
        for _ in range(4)
    )
    whole, parted = (params, optimizer.init(params)), (jax.device_put(params, cut),)
    parted = (*parted, optimizer.init(parted[0]))
    step = jax.jit(optimizer.update)
    for gradient in gradients:
        (p, state), (q, spread) = whole, parted
        updates, state = step(gradient, state, p)
        others, spread = step(jax.device_put(gradient, cut), spread, q)
        assert_close(others, updates, 1e-5)
        assert_close(spread, state, 1e-5)
        leaves = [x for x in jax.tree.leaves((others, spread)) if x.shape in shapes.values()]
        assert len(leaves) >= len(shapes)
        for leaf in leaves:
            assert leaf.sharding.is_equivalent_to(cut, leaf.ndim), (name, leaf.sharding)
        whole = (optax.apply_updates(p, updates), state)
        parted = (optax.apply_updates(q, others), spread)


@pytest.mark.parametrize(
    "chosen", [FEW[:1], pytest.param(EVERY, marks=pytest.mark.slow)], ids=["one", "every"]
)
def test_two_devices_compute_what_one_does(chosen: tuple[str, ...]) -> None:
    code = (
        "import sys; from tests.exporters.test_optax import check_two_devices as check\n"
        "for name in sys.argv[1:]: check(name)"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code, *chosen],
        cwd=ROOT,
        env={**os.environ, **flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", names())
def test_a_constant_schedule_is_a_constant(name: str) -> None:
    make = factory(name)
    assert inspect.signature(make).parameters["learning_rate"].annotation == optax.ScalarOrSchedule
    params, _, loss = parabola(jnp.float32)
    both = []
    for rate in (1e-3, optax.constant_schedule(1e-3)):
        optimizer, w = make(learning_rate=rate), params
        state = optimizer.init(w)
        for _ in range(10):
            updates, state = optimizer.update(jax.grad(loss)(w), state, w)
            w = optax.apply_updates(w, updates)
        both.append(w)
    assert_close(both[1], both[0], 1e-5)


@pytest.mark.parametrize("name", [n for n in EVERY if plan(load_rule(n)).product])
def test_a_schedule_moves_the_learning_rate(name: str) -> None:
    params, _, loss = parabola(jnp.float32)
    scheduled = factory(name)(learning_rate=lambda step: 0.01 / (1 + step))
    state = scheduled.init(params)
    for count in range(3):
        gradients = jax.grad(loss)(params)
        expected, _ = factory(name)(learning_rate=0.01 / (1 + count)).update(
            gradients, state, params
        )
        updates, state = scheduled.update(gradients, state, params)
        assert_close(updates, expected, 1e-5)


@pytest.mark.parametrize("name", names())
def test_vmap_over_models_is_each_model_alone(name: str) -> None:
    optimizer = factory(name)()
    source = np.random.default_rng(0)
    params, gradients = (
        {"a": jnp.asarray(source.normal(size=(3, 4))), "b": jnp.asarray(source.normal(size=(3, 1)))}
        for _ in range(2)
    )

    def two(p: Any, g: Any) -> Any:
        updates, state = optimizer.update(g, optimizer.init(p), p)
        return optimizer.update(g, state, optax.apply_updates(p, updates))[0]

    together = jax.jit(jax.vmap(two))(params, gradients)
    for row in range(3):
        alone = two(*(jax.tree.map(lambda x, r=row: x[r], tree) for tree in (params, gradients)))
        assert_close(jax.tree.map(lambda x, r=row: x[r], together), alone, 1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_shipped_rules_find_the_minimum_of_a_parabola(name: str) -> None:
    assert set(RATES) == set(EVERY)
    peak, size = RATES[name]
    make, found = factory(name), plan(load_rule(name))
    still = {v.wish: 0.0 for v in found.constants if v.wish == "weight_decay"}
    steps = 4000
    rate = optax.cosine_decay_schedule(peak, steps)
    optimizer = make(learning_rate=rate, **still)
    params, end, loss = parabola(jnp.float32, size)

    def step(carry: Any, _: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
    for key in end:
        np.testing.assert_allclose(params[key], end[key], atol=0.03)


def test_the_parameters_are_asked_for_only_where_a_rule_reads_them() -> None:
    gradients = jnp.ones(2)
    lion, plain = factory("lion")(), factory("without states")()
    with pytest.raises(ValueError, match="params are needed"):
        lion.update(gradients, lion.init(gradients))
    updates, _ = plain.update(gradients, plain.init(gradients))
    assert np.allclose(updates, -0.1)


@pytest.mark.parametrize("name", names())
def test_an_empty_tree_is_no_trouble(name: str) -> None:
    optimizer = factory(name)()
    updates, _ = optimizer.update({}, optimizer.init({}), {})
    assert updates == {}


def test_lion_is_optax_lion() -> None:
    params, _, loss = parabola(jnp.float32)
    ours, theirs = (
        factory("lion")(learning_rate=1e-3),
        optax.lion(1e-3, 0.9, 0.99, weight_decay=0.1),
    )
    results = []
    for optimizer in (ours, theirs):
        w, state = params, optimizer.init(params)
        for _ in range(50):
            updates, state = optimizer.update(jax.grad(loss)(w), state, w)
            w = optax.apply_updates(w, updates)
        results.append(w)
    assert_close(results[0], results[1], 1e-6)


def test_masked_parameters_are_left_alone() -> None:
    params, _, loss = parabola(jnp.float32)
    gradients = jax.grad(loss)(params)
    for name in ("lion", "program_8"):
        optimizer, plain = optax.masked(factory(name)(), {"a": True, "b": False}), factory(name)()
        updates, _ = jax.jit(optimizer.update)(gradients, optimizer.init(params), params)
        assert (updates["b"] == gradients["b"]).all()
        own = {"a": params["a"]}
        alone, _ = plain.update({"a": gradients["a"]}, plain.init(own), own)
        assert_close(updates["a"], alone["a"], 1e-6)
