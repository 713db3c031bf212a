"""Lion against a float64 loop written here, on every path."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from optforge.optim import Lion

PATHS = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
UNIT = 2.0**-24  # of float32
SIZE = 9003  # large enough for a compiled kernel, and no multiple of anything


def oracle(
    weight: Tensor, gradient: Tensor, momentum: Tensor, *, lr: float, beta1: float, beta2: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One step in float64, element by element in Python: c, next weight, next momentum."""
    combined, weights, momenta = [], [], []
    rows = zip(weight.tolist(), gradient.tolist(), momentum.tolist(), strict=True)
    for w, g, m in rows:
        c = beta1 * m + (1 - beta1) * g
        combined.append(c)
        weights.append(w - lr * weight_decay * w - lr * ((c > 0) - (c < 0)))
        momenta.append(beta2 * m + (1 - beta2) * g)
    as_double = [
        torch.tensor(column, dtype=torch.float64) for column in (combined, weights, momenta)
    ]
    return as_double[0], as_double[1], as_double[2]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_step_of_a_trajectory_agrees_with_the_oracle(path: str, dtype: torch.dtype) -> None:
    settings = {"lr": 0.01, "weight_decay": 0.3}
    weight = torch.nn.Parameter(draw(SIZE, dtype=dtype))
    optimizer = Lion([weight], **settings, **PATHS[path])
    unit = UNIT if dtype == torch.float32 else 2.0**-53
    m = torch.zeros(SIZE, dtype=dtype)
    for step in range(8):
        weight.grad = draw(SIZE, seed=step + 1, dtype=dtype)
        w = weight.detach().clone()
        optimizer.step()
        c, wanted, momentum = oracle(w, weight.grad, m, beta1=0.9, beta2=0.99, **settings)
        sure = c.abs() > 4 * unit * (0.9 * m.abs() + 0.1 * weight.grad.abs())
        assert sure.double().mean() > 0.99
        error = (weight.detach().double() - wanted).abs()
        assert float((error - 8 * unit * (w.abs() + 0.01))[sure].max()) <= 0
        new = optimizer.state[weight]["momentum"]
        size = m.abs() + weight.grad.abs()
        assert float(((new.double() - momentum).abs() - 8 * unit * size).max()) <= 0
        m = new.clone()


@pytest.mark.parametrize("path", PATHS)
def test_the_sign_of_zero_is_zero(path: str) -> None:
    weight = torch.nn.Parameter(draw(SIZE))
    optimizer = Lion([weight], lr=0.1, **PATHS[path])
    before = weight.detach().clone()
    weight.grad = torch.zeros(SIZE)
    for _ in range(3):
        optimizer.step()
    assert torch.equal(weight.detach(), before)


def test_lion_pytorch_and_google_agree_sign_by_sign() -> None:
    lion_pytorch = pytest.importorskip("lion_pytorch")
    ours = torch.nn.Parameter(draw(6240))
    theirs = torch.nn.Parameter(draw(6240))
    first = Lion([ours], lr=1e-3, weight_decay=0.1)
    second = lion_pytorch.Lion([theirs], lr=1e-3, weight_decay=0.1)
    for step in range(20):
        ours.grad = draw(6240, seed=step + 1)
        theirs.grad = ours.grad.clone()
        first.step()
        second.step()
    assert float((ours.detach() - theirs.detach()).abs().max()) < 1e-5  # a flip would be 2e-3


def test_the_paper_s_defaults() -> None:
    group = Lion([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-4, (0.9, 0.99), 0.0)
    assert math.isclose(group["reference_lr"], 1e-4)
