"""Every two options of Lion together, on every path, against a loop over Python floats.

The cases are drawn so that each pair of values of any two options occurs in one at least.
"""

from __future__ import annotations

import math
import random
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.errors import NonFiniteError, OptimizerError
from optforge.optim import Lion
from optforge.optim.steps.layout import real

NAN = float("nan")
PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
FACTORS: dict[str, tuple[Any, ...]] = {
    "weights": (
        *("contiguous", "channels_last", "non-contiguous", "0-d"),
        *("bfloat16", "float16", "float64", "complex"),
    ),
    "momentum_dtype": (None, torch.bfloat16, "8bit"),
    "rounding": (None, "nearest", "kahan"),
    "decay_mode": ("lr", "independent", "cautious"),
    "nonfinite": ("ignore", "zero", "skip_step", "propagate", "raise"),
    "cautious": (False, True),
    "maximize": (False, True),
    "capturable": (False, True),
    "rate": ("number", "tensor"),
    "scaler": (False, True),
    "around": ("alone", "another dtype in the group", "empty groups and a closure"),
}
Case = dict[str, Any]


def is_refused(case: Case) -> bool:
    narrow = case["weights"] == "complex" and case["momentum_dtype"] is not None
    return narrow or (case["capturable"] and case["nonfinite"] == "raise")


def pairs(case: Case) -> set[tuple[Any, ...]]:
    return {(a, case[a], b, case[b]) for a, b in combinations(FACTORS, 2)}


def covering() -> list[Case]:
    """Cases in which every pair that is not refused occurs, drawn greedily."""
    source = random.Random(0)

    def draw() -> Case:
        return {name: source.choice(values) for name, values in FACTORS.items()}

    wanted: set[tuple[Any, ...]] = set()
    for a, b in combinations(FACTORS, 2):
        wanted |= {(a, x, b, y) for x in FACTORS[a] for y in FACTORS[b]}
    wanted -= {("weights", "complex", "momentum_dtype", one) for one in (torch.bfloat16, "8bit")}
    wanted -= {("nonfinite", "raise", "capturable", True)}
    cases = []
    while wanted:
        drawn = [case for case in (draw() for _ in range(200)) if not is_refused(case)]
        best = max(drawn, key=lambda case: len(pairs(case) & wanted))
        wanted -= pairs(best)
        cases.append(best)
    return cases


CASES = covering()


def start(kind: str) -> Tensor:
    values = torch.randn(26, 64, generator=torch.Generator().manual_seed(1))
    if kind == "complex":
        return torch.view_as_complex(values.view(26, 32, 2).contiguous())
    if kind == "channels_last":
        return values.view(13, 2, 8, 8).to(memory_format=torch.channels_last)
    if kind == "non-contiguous":
        return torch.zeros(26, 128)[:, ::2].copy_(values)
    if kind == "0-d":
        return torch.tensor(0.5)
    names = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
    return values.to(names.get(kind, torch.float32))


def gradient(like: Tensor, step: int) -> Tensor:
    """In the second step the momentum decides, often against the gradient; in the others not.

    Sizes are far enough apart for 8 bits.
    """
    flat = torch.randn(real(like).shape, generator=torch.Generator().manual_seed(step + 5))
    flat = torch.where(flat > 0, 0.5 + flat, flat - 0.5).clamp(-4, 4) * (1, 0.008, 1)[step]
    return (torch.view_as_complex(flat) if like.is_complex() else flat).to(like.dtype)


def flat(tensor: Tensor) -> list[float]:
    return real(tensor.detach().contiguous()).double().reshape(-1).tolist()


def sign(x: float) -> float:
    return x if math.isnan(x) else float((x > 0) - (x < 0))


def stepped(w: list[float], m: list[float], row: list[float], case: Case, lr: float,
            decay: float) -> None:  # fmt: skip
    """One step of all elements in Python, with every option."""
    policy = case["nonfinite"]
    if policy in ("skip_step", "raise") and not all(map(math.isfinite, row)):
        return
    idle = [policy == "ignore" and not math.isfinite(g) for g in row]
    row = [-g if case["maximize"] else g for g in row]
    row = [0.0 if policy == "zero" and not math.isfinite(g) else g for g in row]
    signs = [sign(0.9 * a + 0.1 * g) for a, g in zip(m, row, strict=True)]
    agree = [s * sign(g) > 0 and not still for s, g, still in zip(signs, row, idle, strict=True)]
    scale = len(agree) / max(sum(agree), 1e-3 * len(agree)) if case["cautious"] else 1.0
    for i, (s, g) in enumerate(zip(signs, row, strict=True)):
        if idle[i]:
            continue
        s = 0.0 if case["cautious"] and not agree[i] and not math.isnan(s) else s * scale
        keeps = case["decay_mode"] == "cautious" and s * sign(w[i]) < 0
        w[i] = w[i] - (0.0 if keeps else decay * w[i]) - lr * s
        m[i] = 0.99 * m[i] + 0.01 * g


def name_of(case: Case) -> str:
    return " ".join(f"{value}" for value in case.values())


@pytest.mark.parametrize("path", ["loop", "foreach", pytest.param("fused", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_any_two_options_combine(case: Case, path: str) -> None:
    weight = Parameter(start(case["weights"]))
    narrow = weight.dtype.itemsize == 2
    rate = 0.25 if narrow else 0.01
    lr: Any = torch.tensor(rate) if case["rate"] == "tensor" else rate
    independent = case["decay_mode"] == "independent"
    decay = 0.05 if independent else 0.3
    other = Parameter(torch.ones(7, dtype=torch.bfloat16 if not narrow else torch.float32))
    mixed = case["around"].startswith("another")
    groups: list[Any] = [{"params": [weight, *([other] if mixed else [])]}]
    if case["around"].startswith("empty"):
        groups = [{"params": []}, *groups, {"params": [Parameter(torch.ones(3))]}]
    names = ("momentum_dtype", "rounding", "decay_mode", "nonfinite", "cautious", "maximize",
             "capturable")  # fmt: skip
    options = {name: case[name] for name in names}
    optimizer = Lion(groups, lr, weight_decay=decay, **options, **PATHS[path])
    w, m, factor = flat(weight), [0.0] * real(weight).numel(), float(torch.tensor(rate))

    def closure() -> None:
        assert torch.is_grad_enabled()

    for step in range(3):
        weight.grad, bad = gradient(weight, step), step == 2
        if bad and weight.dim():
            real(weight.grad).view(-1)[5] = NAN
        row = flat(weight.grad)
        other.grad = torch.full_like(other, -1.0 if case["maximize"] else 1.0)
        if case["scaler"]:
            real(weight.grad).mul_(8)  # a complex product would spread a NaN
            other.grad.mul_(8)
            optimizer.grad_scale, optimizer.found_inf = torch.tensor(8.0), torch.tensor(0.0)  # type: ignore[attr-defined]
        given = weight.grad.clone()
        if bad and weight.dim() and case["nonfinite"] == "raise":
            with pytest.raises(NonFiniteError):
                optimizer.step()
        else:
            optimizer.step(closure if case["around"].startswith("empty") else None)
        assert torch.equal(real(weight.grad).nan_to_num(9), real(given).nan_to_num(9))
        stepped(w, m, row, case, factor, decay if independent else factor * decay)
    bound = 6 * float(torch.finfo(weight.dtype).eps) if narrow else 2e-6
    got, wanted = torch.tensor([flat(weight), w], dtype=torch.float64)
    assert torch.equal(got.isnan(), wanted.isnan())
    assert float(((got - wanted).abs() / (1 + wanted.abs())).nan_to_num(0).max()) <= bound
    if mixed:
        assert bool((other < 1).all())
    assert len(optimizer.state) == 1 + mixed


def test_every_pair_that_is_not_refused_occurs() -> None:
    seen = set().union(*map(pairs, CASES))
    plain: Case = {name: values[0] for name, values in FACTORS.items()}
    for a, b in combinations(FACTORS, 2):
        for x in FACTORS[a]:
            for y in FACTORS[b]:
                assert (a, x, b, y) in seen or is_refused({**plain, a: x, b: y})
    assert not any(map(is_refused, CASES))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("momentum_dtype", [torch.bfloat16, "8bit"], ids=str)
def test_complex_weights_refuse_low_bits(path: str, momentum_dtype: Any) -> None:
    weight = Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(OptimizerError, match="with a complex parameter"):
        Lion([weight], momentum_dtype=momentum_dtype, **PATHS[path])
