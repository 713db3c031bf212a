"""Measure how many signs low-bit momentum turns round, next to bitsandbytes' 8 bits.

    python benchmarks/flip_rates.py [--seeds 5] [--path loop|foreach|fused] [--json FILE|-]

Sixty steps of one tensor of 130 x 64 elements. Gradients are normal times e^(spread x normal): the
spread says how different the sizes of the elements are. A flip is an element of a step whose weight
moves otherwise than by the sign of c = 0.9 m + 0.1 g, where m is the momentum of all gradients so
far in float64. Shown is the mean share of flips over the seeds, with the lowest and the highest.

It measures decisions, not time, so it may run on a busy machine. It takes about a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion

SHAPE, STEPS, RATE = (130, 64), 60, 1e-3
SPREADS = (0.0, 1.0, 2.0)
PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
Make = Callable[[list[Parameter]], torch.optim.Optimizer]


def contestants(path: str) -> dict[str, Make]:
    """Give the optimizers by name; bitsandbytes' only where it is installed."""
    way = PATHS[path]
    found: dict[str, Make] = {
        "float32": lambda w: Lion(w, lr=RATE, **way),
        "bfloat16": lambda w: Lion(w, lr=RATE, momentum_dtype=torch.bfloat16, **way),
        "8 bits": lambda w: Lion(w, lr=RATE, momentum_dtype="8bit", **way),
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns on machines without an accelerator
            from bitsandbytes.optim.lion import Lion8bit
    except ImportError:
        print("bitsandbytes is not installed: pip install bitsandbytes", file=sys.stderr)
    else:
        found["bitsandbytes, 8 bits"] = lambda w: Lion8bit(w, lr=RATE)
    return found


def flip_share(make: Make, spread: float, seed: int) -> float:
    """Run one optimizer beside a float64 momentum.

    Args:
        make: Builds it.
        spread: Of the sizes of gradients.
        seed: Of weights, sizes and gradients.

    Returns:
        The share of decisions that differ.
    """
    source = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(SHAPE, generator=source)

    weight, sizes = Parameter(draw()), torch.exp(spread * draw())
    momentum, optimizer, flips = torch.zeros(SHAPE, dtype=torch.float64), make([weight]), 0
    for _ in range(STEPS):
        weight.grad, before = sizes * draw(), weight.detach().clone()
        c = 0.9 * momentum + 0.1 * weight.grad.double()
        momentum = 0.99 * momentum + 0.01 * weight.grad.double()
        optimizer.step()
        flips += int((torch.sign(before - weight.detach()) != torch.sign(c)).sum())
    return flips / (STEPS * weight.numel())


def measure(path: str, seeds: int) -> list[dict[str, Any]]:
    """Measure all optimizers at all spreads, on the same seeds."""
    rows = []
    for name, make in contestants(path).items():
        for spread in SPREADS:
            shares = [flip_share(make, spread, seed) for seed in range(seeds)]
            rows.append({"optimizer": name, "path": path, "spread": spread, "shares": shares})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Write the shares in per cent: mean (lowest to highest)."""
    names = list(dict.fromkeys(row["optimizer"] for row in rows))
    lines = [f"| spread | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for spread in SPREADS:
        cells = [
            f"{mean(s):.2%} ({min(s):.2%} to {max(s):.2%})"
            for s in (row["shares"] for row in rows if row["spread"] == spread)
        ]
        lines.append(f"| {spread:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--path", choices=PATHS, default="foreach", help="default: foreach")
    parser.add_argument("--json", help="write every share to this file, or to standard output (-)")
    given = parser.parse_args()
    if given.seeds < 1:
        parser.error(f"--seeds {given.seeds}: at least 1")
    rows = measure(given.path, given.seeds)
    if given.json:
        text = json.dumps(rows, indent=2)
        print(text) if given.json == "-" else Path(given.json).write_text(text, encoding="utf-8")
    if given.json != "-":
        print(table(rows))


if __name__ == "__main__":
    main()
