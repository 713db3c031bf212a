"""The foreach path: lists of plain parameters, cut and gathered to batches, decide as the loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion
from optforge.optim.steps.member import Member

SHAPES = ((3, 5), (), (5000,), (1,), (300, 700), (40, 50), (131_072,))  # two are cut to slices


def draw(shape: tuple[int, ...], seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def train(dtype: torch.dtype, bad: bool, options: dict[str, Any]) -> list[list[Tensor]]:
    weights = [Parameter(draw(shape, i, dtype)) for i, shape in enumerate(SHAPES)]
    optimizer = Lion(weights, lr=0.25, weight_decay=0.01, **options)
    for step in range(3):
        for i, weight in enumerate(weights):
            weight.grad = draw(weight.shape, 10 * step + i + 7, dtype)
            if bad and step == 1 and weight.numel() > 1:
                weight.grad.view(-1)[-1] = float("nan")
        optimizer.step()
    return [[w.detach(), optimizer.state[w]["momentum"]] for w in weights]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [False, True], ids=["finite", "with NaN"])
@pytest.mark.parametrize("maximize", [False, True])
def test_plain_parameters_take_no_leaves_and_decide_alike(
    dtype: torch.dtype, bad: bool, maximize: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = train(dtype, bad, {"foreach": False, "maximize": maximize})
    monkeypatch.setattr(Member, "piece", None)  # would be called for each of them
    got = train(dtype, bad, {"foreach": True, "maximize": maximize})
    unit = float(torch.finfo(dtype).eps)
    for one, other in zip(got, wanted, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=16 * unit, atol=16 * unit)
