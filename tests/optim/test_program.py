"""ProgramOptimizer as a citizen of `torch.optim`: states, copies, parameters of all sorts."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.language import Kind, load_rule, parse, rule_names
from optforge.optim.program import ProgramOptimizer
from tests.helpers.parameters import EVERY_KIND, give_gradients, parameter, train

WAYS: dict[str, dict[str, Any]] = {"loop": {"foreach": False}, "foreach": {"foreach": True}}


# States -----------------------------------------------------------------------------------------


def test_states_of_every_kind_are_plain_tensors() -> None:
    weights = [parameter(3, 2, dtype=torch.bfloat16), parameter(2)]
    optimizer = ProgramOptimizer(weights, parse(EVERY_KIND))
    train(optimizer, 3)
    kinds = dict(zip(("m", "size", "count"), optimizer.graph.kinds, strict=True))
    assert kinds == {"m": Kind.TREE, "size": Kind.ARRAY, "count": Kind.SCALAR}
    narrow, wide = (optimizer.state[w] for w in weights)
    assert {n: (t.dtype, tuple(t.shape)) for n, t in narrow.items()} == {
        "m": (torch.float32, (3, 2)),
        "size": (torch.float32, ()),
        "count": (torch.float64, ()),
    }
    assert wide["m"].dtype == wide["size"].dtype == torch.float64
    assert narrow["count"].item() == wide["count"].item() == 3
    assert all(type(t) is Tensor for state in (narrow, wide) for t in state.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_loading_goes_on_exactly_and_keeps_dtypes(dtype: torch.dtype) -> None:
    def fresh() -> ProgramOptimizer:
        weights = [parameter(3, 2, dtype=dtype), parameter(4, seed=1, dtype=dtype)]
        return ProgramOptimizer(weights, parse(EVERY_KIND), lr=0.02)

    one, other = fresh(), fresh()
    want = train(one, 9)
    train(other, 4)
    buffer = io.BytesIO()
    torch.save(other.state_dict(), buffer)
    buffer.seek(0)
    third = fresh()
    weights = (o.param_groups[0]["params"] for o in (third, other))
    for mine, theirs in zip(*weights, strict=True):
        mine.data.copy_(theirs)
    third.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(train(third, 5, first=4), want)
    for mine, theirs in zip(third.state.values(), one.state.values(), strict=True):
        assert {n: t.dtype for n, t in mine.items()} == {n: t.dtype for n, t in theirs.items()}


def test_loading_does_not_tie_two_optimizers_together() -> None:
    one = ProgramOptimizer([parameter(3)], "adamw_bias_correction")
    train(one, 2)
    saved = one.state_dict()
    kept = copy.deepcopy(saved)
    other = ProgramOptimizer([parameter(3)], "adamw_bias_correction")
    other.load_state_dict(saved)
    train(other, 2)
    for name, value in kept["state"][0].items():
        assert torch.equal(one.state_dict()["state"][0][name], value), name


def test_a_state_dict_of_another_rule_is_refused() -> None:
    one = ProgramOptimizer([parameter(3)], "adamw")
    train(one, 1)
    with pytest.raises(OptimizerError, match=r"\['m', 'v'\].*keeps \['momentum'\]"):
        ProgramOptimizer([parameter(3)], "lion").load_state_dict(one.state_dict())


@pytest.mark.parametrize(("saved", "loaded"), [("nadam", "adamw"), ("program_4", "program_8")])
def test_equal_names_of_states_do_not_make_rules_equal(saved: str, loaded: str) -> None:
    one, other = (ProgramOptimizer([parameter(3)], name) for name in (saved, loaded))
    train(one, 1)
    with pytest.raises(OptimizerError, match="load it into an optimizer with the rule that saved"):
        other.load_state_dict(one.state_dict())
    assert not other.state


def test_a_state_dict_with_other_hyperparameters_is_taken_with_them() -> None:
    text = load_rule("adamw").text
    assert "0.9)" in text
    one = ProgramOptimizer([parameter(3)], parse(text.replace("0.9)", "0.8)")), lr=0.02)
    other = ProgramOptimizer([parameter(3)], "adamw")
    train(one, 2)
    other.load_state_dict(one.state_dict())
    assert other.param_groups[0]["beta1"] == one.param_groups[0]["beta1"]
    assert other.param_groups[0]["lr"] == 0.02


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_steps_under_the_resolution_of_the_weights_are_told_once(
    dtype: torch.dtype, way: str
) -> None:
    def run(lr: float, steps: int) -> list[str]:
        weight = torch.nn.Parameter(torch.ones(8, dtype=dtype))
        optimizer = ProgramOptimizer([weight], "adamw", lr, weight_decay=0.0, **WAYS[way])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(optimizer, steps)
            optimizer.param_groups[0]["lr"] *= 1e-3
            train(optimizer, 2)
        return [str(w.message) for w in caught if "under the resolution" in str(w.message)]

    assert len(run(1e-6, 12)) == 1
    assert len(run(0.05, 12)) == 1  # only after the rate fell
    assert not run(0.05, 2)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_its_own_way(clone: Any) -> None:
    one = ProgramOptimizer([parameter(3), parameter(2, seed=1)], parse(EVERY_KIND), fused=None)
    train(one, 3)
    other = clone(one)
    assert torch.equal(train(other, 3, first=3), train(one, 3, first=3))


def test_dead_states_take_no_memory() -> None:
    optimizer = ProgramOptimizer([parameter(3)], "program_8")
    train(optimizer, 1)
    (state,) = optimizer.state.values()
    assert set(state) == {"v"}


# Parameters of all sorts ------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["lion", "program_4", "program_5"])
def test_gradients_are_never_changed(name: str, way: str) -> None:
    weights = [parameter(3, 2), parameter(), parameter(70_000)]
    optimizer = ProgramOptimizer(weights, name, maximize=True, **WAYS[way])
    for step in range(3):
        give_gradients(weights, step)
        before = [w.grad.clone() for w in weights if w.grad is not None]
        versions = [w.grad._version for w in weights if w.grad is not None]
        optimizer.step()
        assert all(torch.equal(w.grad, g) for w, g in zip(weights, before, strict=True))  # type: ignore
        assert versions == [w.grad._version for w in weights if w.grad is not None]


def test_a_state_that_is_the_gradient_or_the_weight_is_a_copy() -> None:
    text = "def train(w, g, a, b, lr):\n    u = a + b\n    u = u * 0.1\n    return u, g, w\n"
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, parse(text))
    give_gradients(weights, 0)
    start, gradient = weights[0].detach().clone(), weights[0].grad.clone()  # type: ignore
    optimizer.step()
    weights[0].grad.zero_()  # type: ignore
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), start - 0.1 * (gradient + start))


@pytest.mark.parametrize("way", WAYS)
def test_two_states_may_change_places(way: str) -> None:
    text = "def train(w, g, a, b, lr):\n    u = a * 0.1\n    b = b + g\n    return u, b, a\n"
    weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = ProgramOptimizer([weight], parse(text), **WAYS[way])
    a = b = torch.zeros(2, dtype=torch.float64)
    wanted = torch.zeros(2, dtype=torch.float64)
    for step in range(5):
        weight.grad = torch.full((2,), float(step + 1), dtype=torch.float64)
        wanted = wanted - 0.1 * a
        a, b = b + weight.grad, a
        optimizer.step()
        torch.testing.assert_close(weight.detach(), wanted)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["adamw", "program_5", "program_8"])
def test_layouts_and_large_arrays_make_no_difference(name: str, way: str) -> None:
    """Pieces of large arrays, channels_last, transposed and sliced memory."""
    shapes = ((70_001,), (2, 3, 4, 5), (6, 7), (4, 5), (), (0, 3))

    def plain(seed: int) -> list[Tensor]:
        return [parameter(*s, seed=seed + i).detach() for i, s in enumerate(shapes)]

    def odd(seed: int) -> list[Tensor]:
        a, b, c, d, e, f = plain(seed)
        wide = torch.zeros(8, 9, dtype=torch.float64)
        wide[::2, ::2] = d
        b = b.contiguous(memory_format=torch.channels_last)
        return [a, b, c.t().contiguous().t(), wide[::2, ::2], e, f]

    results = []
    for arrays in (plain, odd):
        weights = [torch.nn.Parameter(w) for w in arrays(0)]
        optimizer = ProgramOptimizer(weights, name, **WAYS[way])
        for step in range(3):
            grads = odd(50 + 10 * step) if step != 1 else plain(60)
            for w, g in zip(weights, grads, strict=True):
                w.grad = g
            optimizer.step()
        results.append([w.detach() for w in weights])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["adamw", "momentum_sgd"])
def test_dtypes_may_mix(name: str) -> None:
    dtypes = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    weights = [parameter(4, seed=i, dtype=d) for i, d in enumerate(dtypes)]
    exact = [torch.nn.Parameter(w.detach().double()) for w in weights]
    one, other = (ProgramOptimizer(w, name, lr=0.01) for w in (weights, exact))
    for step in range(5):
        give_gradients(weights, step)
        for e, w in zip(exact, weights, strict=True):
            e.grad = w.grad.double()  # type: ignore
        one.step()
        other.step()
    for e, w in zip(exact, weights, strict=True):
        rounding = 5 * torch.finfo(w.dtype).eps
        torch.testing.assert_close(w.detach().double(), e.detach(), rtol=rounding, atol=rounding)


def test_constants_beyond_a_dtype_are_infinite_in_it() -> None:
    program = parse(
        "def train(w, g, lr):\n    u = g * 1e300\n    u = minimum(u, 2.0)\n    return u\n"
    )
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    ProgramOptimizer([weight], program).step()
    assert weight.tolist() == [-2.0, -2.0]


def test_a_closure_sees_gradients() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = ProgramOptimizer([weight], "momentum_sgd", lr=0.1, weight_decay=0.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    torch.testing.assert_close(weight.detach(), torch.full((2,), 0.8))


@pytest.mark.parametrize("name", rule_names())
def test_every_shipped_rule_goes_down_a_parabola(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -1.5, 0.5], dtype=torch.float64))
    optimizer = ProgramOptimizer([weight], name, lr=0.01)
    first = (weight.detach() ** 2).sum().item()
    for _ in range(300):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert (weight.detach() ** 2).sum().item() < 0.05 * first
