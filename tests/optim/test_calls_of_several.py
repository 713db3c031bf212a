"""Compiled steps of Lion take several parameters a call: each is stepped as by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion
from optforge.optim.compiler import has_compiler
from optforge.optim.steps import kernel
from optforge.optim.steps.kernel import TOGETHER, LionKernel

# Two calls of several and three alone; longer than what is packed; equal lengths in one call.
SHAPES = [(192, 128), (192, 128), (40_001,), (4, 8192), (18_000,), (128, 192), (24_576,),
          (128, 256), (60_000,), (17_000,), (20_007,)]  # fmt: skip


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trained(dtype: torch.dtype, steps: int, **settings: Any) -> tuple[list[Parameter], Lion]:
    weights = [Parameter(draw(*shape, seed=n).to(dtype)) for n, shape in enumerate(SHAPES)]
    optimizer = Lion(weights, lr=2.0**-8, weight_decay=0.25, **settings)
    for step in range(steps):
        for number, weight in enumerate(weights):
            weight.grad = draw(*weight.shape, seed=100 * step + number + 50).to(dtype)
        weights[3].grad[0, :3] = torch.tensor([float("nan"), float("inf"), 0.0])  # type: ignore[index]
        optimizer.step()
    return weights, optimizer


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")
@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        (torch.float32, {}),
        pytest.param(torch.bfloat16, {}, marks=pytest.mark.slow),
        pytest.param(torch.float32, {"momentum_dtype": "8bit"}, marks=pytest.mark.slow),
        pytest.param(torch.float32, {"cautious": True}, marks=pytest.mark.slow),
        pytest.param(torch.bfloat16, {"rounding": "kahan"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_several_in_a_call_are_stepped_as_one_by_one(
    dtype: torch.dtype, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = kernel.kernels_of

    def counted(form: LionKernel) -> Any:
        calls.append(form.pieces)
        return real(form)

    monkeypatch.setattr(kernel, "kernels_of", counted)
    fused, ours = trained(dtype, 3, fused=True, **settings)
    alone, plain = trained(dtype, 3, foreach=False, **settings)
    assert TOGETHER in calls, "no call of several was made"
    for number, (one, other) in enumerate(zip(fused, alone, strict=True)):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7, msg=f"weight {number}")
        states = ours.state[one], plain.state[other]
        for name, value in states[1].items():
            slack = 1 if value.dtype == torch.int8 else 1e-7  # of a code either neighbour will do
            torch.testing.assert_close(states[0][name], value, rtol=1e-6, atol=slack)
