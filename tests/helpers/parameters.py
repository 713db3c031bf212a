"""Seeded parameters and gradients for tests of optimizers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def parameter(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.nn.Parameter:
    source = torch.Generator().manual_seed(seed)
    draw = torch.randn(shape, generator=source, dtype=torch.float64)
    return torch.nn.Parameter(draw.to(dtype))


def give_gradients(parameters: list[Any], seed: int) -> None:
    source = torch.Generator().manual_seed(100 + seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=source, dtype=torch.float64).to(p.dtype)


def train(optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> Tensor:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(first, first + steps):
        give_gradients(parameters, step)
        optimizer.step()
    return torch.cat([p.detach().double().flatten() for p in parameters])


# A rule with states of all three kinds and sums over the whole tree.
EVERY_KIND = """
def train(w, g, m, size, count, lr):
    count = count + 1.0
    m = interp(g, m, 0.9)
    each = norm(g)
    size = interp(each, size, 0.5)
    u = m / size
    u = u / count
    u = clip(u, 0.8)
    u = u * 0.01
    u = u * lr
    return u, m, size, count
"""

# States of all shapes that a hidden matrix has, and products of them.
SHAMPOO = """
def train(w, g, left, right, average, lr):
    turned = transpose(g)
    outer = matmul(g, turned)
    inner = matmul(turned, g)
    left = interp(outer, left, 0.9)
    right = interp(inner, right, 0.9)
    average = interp(turned, average, 0.5)
    u = matmul(left, g)
    u = matmul(u, right)
    back = transpose(average)
    u = u + back
    u = orthogonalize(u)
    of_average = orthogonalize(average)
    of_average = transpose(of_average)
    u = u + of_average
    u = u * 0.01
    return u, left, right, average
"""
