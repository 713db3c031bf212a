"""The numeric contract of docs/lion_options.md, on every path and for every kind of state.

What is stored is read here in float64, by the formulas of the page, not by our own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion

PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
ROWS, BLOCK = 130, 64  # rows are blocks of 8 bits
LR, DECAY, BETA1, BETA2 = 0.25, 0.01, 0.9, 0.99
UNIT = 2.0**-24


def draw(seed: int) -> Tensor:
    """Elements of very different size, small and large ones in every block."""
    source = torch.Generator().manual_seed(seed)
    sizes = torch.exp(2 * torch.randn(ROWS, BLOCK, generator=source, dtype=torch.float64))
    return sizes * torch.randn(ROWS, BLOCK, generator=source, dtype=torch.float64)


@dataclass(frozen=True)
class Weights:
    """A dtype of weights, and how they are written."""

    dtype: torch.dtype
    rounding: str | None

    def read(self, weight: Tensor, state: dict[str, Tensor]) -> Tensor:
        """What a weight stands for, with its compensation, in float64."""
        if self.rounding != "kahan":
            return weight.detach().double().clone()
        rest = state["compensation"].long()
        if self.dtype == torch.bfloat16:  # the difference of the bits of float32
            bits = weight.detach().float().view(torch.int32).long() + rest
            return bits.to(torch.int32).view(torch.float32).double()
        return weight.detach().double() + rest.double() * 2.0**-16 * self.gap(weight)

    def gap(self, weight: Tensor) -> Tensor:
        """The distance of neighbouring weights, in float64."""
        exponent = torch.frexp(weight.detach().double().abs())[1] - 1
        lowest = -14 if self.dtype == torch.float16 else -126
        power = 2.0 ** exponent.clamp(min=lowest).double()
        return power * float(torch.finfo(self.dtype).eps)


KINDS = {
    "float32": Weights(torch.float32, None),
    "float64": Weights(torch.float64, None),
    "bfloat16 kahan": Weights(torch.bfloat16, "kahan"),
    "bfloat16 stochastic": Weights(torch.bfloat16, "stochastic"),
    "float16 kahan": Weights(torch.float16, "kahan"),
    "float16 stochastic": Weights(torch.float16, "stochastic"),
}


def read_momentum(state: dict[str, Tensor]) -> Tensor:
    """What a momentum stands for, in float64: the formula of 8 bits, or the numbers themselves."""
    if state["momentum"].dtype != torch.int8:
        return state["momentum"].double().clone()
    scale = state["momentum_scale"].double().view(ROWS, 1)
    return scale * (state["momentum"].double() / 127) ** 3


def momentum_slack(wanted: Tensor, size: Tensor, state: dict[str, Tensor], unit: float) -> Tensor:
    """How far a stored momentum may be from the exact one.

    Args:
        wanted: The exact next momentum.
        size: beta2 |m| + (1 - beta2) |g|, of which rounding takes a share.
        state: As stored.
        unit: Of the computation.
    """
    slack = 8 * unit * size + torch.finfo(torch.float32).tiny
    if state["momentum"].dtype == torch.float32:
        return slack + UNIT * wanted.abs()  # rounded once more where weights are float64
    if state["momentum"].dtype == torch.bfloat16:
        return slack + 2.0**-8 * wanted.abs()
    if state["momentum"].dtype == torch.int8:  # half the larger gap to a neighbouring code
        scale = state["momentum_scale"].double().view(ROWS, 1)
        code = (state["momentum"].double().abs() + 1).clamp(max=127)
        gap = (code / 127) ** 3 - ((code - 1) / 127) ** 3
        return slack + scale * (0.5 * gap + 16 * UNIT)
    return slack


COMPILED = [("float32", torch.float32), ("bfloat16 stochastic", torch.bfloat16)]


def cases() -> list[Any]:
    """All of them; those that compile kernels which are rarer are slow."""
    found = []
    for kind in KINDS:
        for momentum_dtype in (torch.float32, torch.bfloat16, "8bit"):
            for path in PATHS:
                slow = path == "fused" and (kind, momentum_dtype) not in COMPILED
                name, marks = f"{kind}-{momentum_dtype}-{path}", [pytest.mark.slow] * slow
                found.append(pytest.param(path, momentum_dtype, kind, id=name, marks=marks))
    return found


@pytest.mark.parametrize(("path", "momentum_dtype", "kind"), cases())
def test_from_its_stored_state_every_step_decides_as_float64_does(
    path: str, momentum_dtype: Any, kind: str
) -> None:
    weights = KINDS[kind]
    wide = weights.dtype == torch.float64
    weight = Parameter((draw(0).sign() + draw(1).clamp(-0.5, 0.5)).to(weights.dtype))
    optimizer = Lion([weight], lr=LR, weight_decay=DECAY, momentum_dtype=momentum_dtype,
                     rounding=weights.rounding, **PATHS[path])  # fmt: skip
    unit = 2.0**-53 if wide else UNIT
    share = 16 * UNIT if momentum_dtype == "8bit" else 4 * unit
    before, m = weight.detach().double().clone(), torch.zeros(ROWS, BLOCK, dtype=torch.float64)
    for step in range(5):
        weight.grad = draw(step + 2).to(weights.dtype)
        g = weight.grad.double()
        optimizer.step()
        state = optimizer.state[weight]
        after = weights.read(weight, state)
        c = BETA1 * m + (1 - BETA1) * g
        sure = c.abs() > share * (BETA1 * m.abs() + (1 - BETA1) * g.abs())
        assert float(sure.double().mean()) > 0.99
        signs = ((before - before * LR * DECAY - after) / LR).round()  # a step is LR long, or none
        assert torch.equal(signs[sure], c.sign()[sure])
        wanted = before - before * LR * DECAY - LR * c.sign()
        slack = 8 * unit * (before.abs() + LR)
        if weights.rounding == "stochastic":  # one of the two neighbours
            slack = slack + torch.maximum(weights.gap(weight), weights.gap(wanted))
        elif weights.rounding == "kahan" and weights.dtype == torch.float16:
            slack = slack + 2.0**-16 * weights.gap(weight)
        assert bool(((after - wanted).abs() <= slack)[sure].all())
        exact = BETA2 * m + (1 - BETA2) * g
        size = BETA2 * m.abs() + (1 - BETA2) * g.abs()
        kept = read_momentum(state)
        assert bool(((kept - exact).abs() <= momentum_slack(exact, size, state, unit)).all())
        before, m = after, kept


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_over_a_trajectory_no_sign_differs_but_where_rounding_adds_up_to_c(
    path: str, dtype: torch.dtype
) -> None:
    unit = UNIT if dtype == torch.float32 else 2.0**-53
    weight = Parameter(draw(1).to(dtype))
    optimizer = Lion([weight], lr=LR, **PATHS[path])
    m, drift = torch.zeros(2, ROWS, BLOCK, dtype=torch.float64)
    unsure = 0
    for step in range(60):
        weight.grad = draw(step + 2).to(dtype)
        g, before = weight.grad.double(), weight.detach().double().clone()
        optimizer.step()
        c = BETA1 * m + (1 - BETA1) * g
        bound = 4 * unit * (BETA1 * m.abs() + (1 - BETA1) * g.abs()) + BETA1 * drift
        sure = c.abs() > bound
        unsure += int((~sure).sum())
        assert torch.equal((before - weight.detach().double()).sign()[sure], c.sign()[sure])
        drift = BETA2 * drift + 4 * unit * (BETA2 * m.abs() + (1 - BETA2) * g.abs())
        m = BETA2 * m + (1 - BETA2) * g
    assert unsure < 1e-3 * 60 * weight.numel()
