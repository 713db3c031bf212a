"""A step is never given states that do not fit their weights, wherever these come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.errors import OptimizerError
from optforge.language import parse
from optforge.optim import Lion, ProgramOptimizer

PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
each_path = pytest.mark.parametrize("path", PATHS)
WITH_A_NUMBER = parse(
    "def train(w, g, m, s, lr):\n    m = interp(g, m, 0.9)\n    s = norm(m)\n"
    "    u = m * 0.01\n    return u, m, s\n"
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def step(optimizer: torch.optim.Optimizer, seed: int = 1) -> None:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = draw(*weight.shape, seed=seed).to(weight.dtype)
    optimizer.step()


def saved(make: Callable[[Parameter], torch.optim.Optimizer], *shape: int) -> dict[str, Any]:
    optimizer = make(Parameter(draw(*shape)))
    step(optimizer)
    return optimizer.state_dict()


@each_path
@pytest.mark.parametrize("momentum_dtype", [None, torch.bfloat16, "8bit"])
def test_a_momentum_of_another_shape_is_refused_at_load(path: str, momentum_dtype: Any) -> None:
    settings = {"momentum_dtype": momentum_dtype, **PATHS[path]}
    state = saved(lambda weight: Lion([weight], **settings), 32, 64)
    weight = Parameter(draw(64, 64))
    lion = Lion([weight], **settings)
    with pytest.raises(OptimizerError, match=r"'momentum' of parameter 0 .*\(32, 64\).*\(64, 64\)"):
        lion.load_state_dict(state)
    assert not lion.state
    step(lion)


def test_other_parts_of_a_state_are_looked_at_too() -> None:
    wide = Lion([Parameter(draw(64, 64))], momentum_dtype="8bit")
    step(wide)
    scale, codes = (wide.state_dict()["state"][0][n] for n in ("momentum_scale", "momentum"))
    kahan = Lion([Parameter(draw(64, 64).bfloat16())], rounding="kahan")
    step(kahan)
    compensation = kahan.state_dict()["state"][0]["compensation"]
    for lion, name, wrong in (
        (wide, "momentum_scale", scale[:-1]),
        (wide, "momentum_scale", scale.float()),
        (wide, "momentum", codes.float()),
        (kahan, "compensation", compensation[:-1]),
        (kahan, "compensation", compensation.float()),
        (kahan, "momentum", codes),
    ):
        state = lion.state_dict()
        state["state"][0] = {**state["state"][0], name: wrong}
        before = {name: value.clone() for name, value in lion.state_dict()["state"][0].items()}
        with pytest.raises(OptimizerError, match=f"'{name}' of parameter 0"):
            lion.load_state_dict(state)
        for key, value in before.items():
            assert torch.equal(lion.state_dict()["state"][0][key], value)


@each_path
@pytest.mark.parametrize("settings", [{}, {"cautious": True}, {"momentum_dtype": "8bit"}], ids=str)
def test_a_weight_that_was_resized_is_told(path: str, settings: dict[str, Any]) -> None:
    weight = Parameter(draw(64, 64))
    lion = Lion([weight], **settings, **PATHS[path])
    step(lion)
    weight.data = draw(640, 64)
    weight.grad = None
    with pytest.raises(OptimizerError, match=r"'momentum' .*\(64, 64\).*\(640, 64\)"):
        step(lion)


@each_path
def test_a_gradient_of_a_weight_that_was_resized_is_told(path: str) -> None:
    weight = Parameter(draw(64, 64))
    lion = Lion([weight], **PATHS[path])
    weight.grad = draw(64, 64)
    weight.data = draw(640, 64)
    with pytest.raises(OptimizerError, match=r"gradient .*\(64, 64\).*\(640, 64\)"):
        lion.step()


@each_path
def test_a_momentum_with_as_many_elements_in_another_shape_is_not_broadcast(path: str) -> None:
    weight, flat = Parameter(draw(4, 1)), Parameter(draw(4, 1).view(4))
    lion, other = Lion([weight], lr=0.1, **PATHS[path]), Lion([flat], lr=0.1, foreach=False)
    step(lion)
    flat.grad = draw(4, 1, seed=1).view(4)
    other.step()
    weight.data, flat.grad = weight.data.view(1, 4), draw(1, 4, seed=2).view(4)
    weight.grad = None
    step(lion, seed=2)
    other.step()
    torch.testing.assert_close(weight.detach().view(4), flat.detach())


@each_path
def test_a_state_on_another_device_is_told(path: str) -> None:
    weight = Parameter(draw(64, 64))
    lion = Lion([weight], **PATHS[path])
    step(lion)
    lion.state[weight]["momentum"] = torch.zeros(64, 64, device="meta")
    with pytest.raises(OptimizerError, match="'momentum' is on meta.*on cpu"):
        step(lion)


@each_path
@pytest.mark.parametrize("rule", ["lion", WITH_A_NUMBER], ids=["lion", "with a number"])
def test_a_rule_s_state_of_another_shape_is_refused_at_load(path: str, rule: Any) -> None:
    state = saved(lambda weight: ProgramOptimizer([weight], rule, **PATHS[path]), 32, 64)
    optimizer = ProgramOptimizer([Parameter(draw(64, 64))], rule, **PATHS[path])
    with pytest.raises(OptimizerError, match=r"of parameter 0 .*\(32, 64\).*\(64, 64\)"):
        optimizer.load_state_dict(state)
    assert not optimizer.state


@each_path
@pytest.mark.parametrize("rule", ["lion", WITH_A_NUMBER], ids=["lion", "with a number"])
def test_a_rule_computes_loaded_states_in_its_own_dtype(path: str, rule: Any) -> None:
    """From a float32 model to a float64 one: its kernels read eight bytes an element."""
    narrow = saved(lambda weight: ProgramOptimizer([weight], rule), 64, 64)
    results = []
    for options in (PATHS[path], {"foreach": False}):
        weight = Parameter(draw(64, 64).double())
        optimizer = ProgramOptimizer([weight], rule, **options)
        optimizer.load_state_dict(narrow)
        for name, value in optimizer.state[weight].items():
            assert value.dtype == torch.float64, name
        step(optimizer, seed=2)
        results.append(weight.detach())
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    assert not torch.equal(results[0], draw(64, 64).double())


@each_path
def test_a_rule_s_states_that_were_changed_by_hand_are_read_as_they_are(path: str) -> None:
    results = []
    for options, dtype in ((PATHS[path], torch.float32), ({"foreach": False}, torch.float64)):
        weight = Parameter(draw(64, 64).double())
        optimizer = ProgramOptimizer([weight], "lion", **options)
        step(optimizer)
        state = optimizer.state[weight]
        (name,) = state
        state[name] = state[name].float().to(dtype)
        step(optimizer, seed=2)
        results.append(weight.detach())
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)


@each_path
def test_a_rule_s_weight_that_was_resized_is_told(path: str) -> None:
    weight = Parameter(draw(64, 64))
    optimizer = ProgramOptimizer([weight], "lion", **PATHS[path])
    step(optimizer)
    weight.data = draw(640, 64)
    weight.grad = None
    with pytest.raises(OptimizerError, match=r"state .*\(64, 64\).*\(640, 64\)"):
        step(optimizer)
