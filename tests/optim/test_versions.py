"""Autograd learns of every step: an old graph must not silently use new weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion, ProgramOptimizer

PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
each_path = pytest.mark.parametrize("path", PATHS)
SHAPES = ((130, 64), (7,), (), (3, 5))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_told(optimizer: torch.optim.Optimizer, weights: list[Parameter]) -> None:
    for weight in weights:  # makes the states
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    losses = [weight.square().sum() for weight in weights]
    for loss in losses:
        loss.backward(retain_graph=True)
    tensors = [t for w in weights for t in (w, *optimizer.state[w].values()) if t.dim()]
    versions = [tensor._version for tensor in tensors]
    optimizer.step()
    for tensor, version in zip(tensors, versions, strict=True):
        assert tensor._version > version
    for loss in losses:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@each_path
@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        *(({}, torch.float32), ({"cautious": True}, torch.float32)),
        *(({"momentum_dtype": "8bit"}, torch.float32), ({"rounding": "kahan"}, torch.bfloat16)),
        ({}, torch.bfloat16),
    ],
    ids=str,
)
def test_a_backward_after_lion_s_step_is_refused(
    path: str, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    weights = [Parameter(draw(*shape).to(dtype)) for shape in SHAPES]
    weights.append(Parameter(draw(64, 130).to(dtype).t()))  # not contiguous
    assert_told(Lion(weights, lr=0.25, **settings, **PATHS[path]), weights)


@each_path
@pytest.mark.parametrize("rule", ["lion", "adamw_bias_correction", "program_8"])
def test_a_backward_after_a_rule_s_step_is_refused(path: str, rule: str) -> None:
    weights = [Parameter(draw(*shape)) for shape in SHAPES]
    assert_told(ProgramOptimizer(weights, rule, **PATHS[path]), weights)
