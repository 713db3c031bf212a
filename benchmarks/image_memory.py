"""Memory and speed of optimizers on a full-size ViT-B/16 (Symbolic Discovery, section 4.6).

    python benchmarks/image_memory.py [--json FILE|-] [--batches 1,2,4] [--repeats 5]

timm's vit_base_patch16_224 with random weights and random images. For each optimizer: bytes of its
states, milliseconds of its step alone, milliseconds of a whole training step at each batch size
and of the share that the optimizer takes, and the largest member of the ViT family (depth and
width grown together, heads of 64) whose weights, gradients and states fit into 16 GB beside the
estimated activations of one image. Medians, with the range of the
repeats. About eight minutes on two cores and 4 GB of memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from measures.machine import load, machine
from rich.console import Console
from torch import nn
from torch.optim import Optimizer

from optforge.compare.measure import optimizer_bytes
from optforge.compare.sources import find_source
from optforge.optim import Lion

MODEL, SIDE, CLASSES = "vit_base_patch16_224", 224, 1000
MEMORY = 16 * 2**30
Make = Callable[[Any], Optimizer]


def contestants() -> dict[str, Make]:
    adafactor = find_source("timm:adafactorbv")
    return {
        "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-4, fused=True),
        "Adafactor, bfloat16 momentum": lambda p: adafactor.make(p, {"lr": 1e-4}),
        "Lion, float32 momentum": lambda p: Lion(p, lr=1e-5),
        "Lion, bfloat16 momentum": lambda p: Lion(p, lr=1e-5, momentum_dtype=torch.bfloat16),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - to print them")
    parser.add_argument("--batches", default="1,2,4", help="sizes of a batch (1,2,4)")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (5)")
    options = parser.parse_args(arguments)
    batches = [int(size) for size in options.batches.split(",")]
    console = Console(stderr=options.json == "-", highlight=False)
    about = machine(1) | {"threads": torch.get_num_threads(), "timm": timm.__version__}
    told = measure(batches, options.repeats, console.print)
    about["load_after"] = load()
    for name, row in told["optimizers"].items():
        console.print(f"{name}: {row}")
    text = json.dumps({"machine": about, **told}, indent=1) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    elif options.json:
        Path(options.json).write_text(text, encoding="utf-8")


def measure(batches: list[int], repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    torch.manual_seed(0)
    model = timm.create_model(MODEL)
    parameters = sum(p.numel() for p in model.parameters())
    say(f"{MODEL}: {parameters:,} parameters")
    gradients = {size: backward_ms(model, size, repeats) for size in batches}
    say(f"forward and backward: {gradients}")
    rows = {}
    for name, make in contestants().items():
        size, step = step_ms(model, make, repeats)
        say(f"{name}: step {step[0]:.1f} ms, {size / parameters:.2f} bytes a parameter")
        rows[name] = _row(size, step, gradients, parameters)
    return {"model": MODEL, "parameters": parameters, "backward_ms": gradients, "optimizers": rows}


def _row(
    size: int, step: list[float], gradients: dict[int, list[float]], parameters: int
) -> dict[str, Any]:
    a_parameter = size / parameters
    return {
        "state_bytes": size,
        "bytes_a_parameter": round(a_parameter, 3),
        "step_ms": step,
        "steps_a_second": {b: 1000 / (g[0] + step[0]) for b, g in gradients.items()},
        "share_of_a_step": {b: step[0] / (g[0] + step[0]) for b, g in gradients.items()},
        "largest_vit": largest_vit(8 + a_parameter),
    }


def backward_ms(model: nn.Module, size: int, repeats: int) -> list[float]:
    """Median, least and most milliseconds of a forward and backward pass."""
    images, labels = torch.randn(size, 3, SIDE, SIDE), torch.randint(0, CLASSES, (size,))
    times = []
    for _ in range(repeats + 1):
        model.zero_grad()
        began = time.perf_counter()
        nn.functional.cross_entropy(model(images), labels).backward()
        times.append(1000 * (time.perf_counter() - began))
    return _spread(times[1:])


def step_ms(model: nn.Module, make: Make, repeats: int) -> tuple[int, list[float]]:
    """Bytes of the states, and the time of the optimizer's own step."""
    optimizer = make(model.parameters())
    optimizer.step()  # builds the states
    times = []
    for _ in range(3 * repeats):
        began = time.perf_counter()
        optimizer.step()
        times.append(1000 * (time.perf_counter() - began))
    size = optimizer_bytes(optimizer)
    del optimizer
    gc.collect()
    return size, _spread(times)


def largest_vit(bytes_a_parameter: float) -> dict[str, int]:
    """The largest ViT with depth = width / 64 whose training fits beside its activations.

    Activations of one image are estimated as 34 values a token, width and block (linear maps,
    norms, GELU and residuals as torch keeps them) and two attention maps a head and block.
    """
    found = {"width": 0, "depth": 0, "parameters": 0}
    for heads in range(4, 200):
        width, depth, tokens = 64 * heads, heads, (SIDE // 16) ** 2 + 1
        parameters = 12 * depth * width**2 + (3 * 256 + CLASSES + tokens) * width
        activations = 4 * depth * (34 * tokens * width + 2 * heads * tokens**2)
        if parameters * bytes_a_parameter + activations > MEMORY:
            return found
        found = {"width": width, "depth": depth, "parameters": parameters}
    return found


def _spread(times: list[float]) -> list[float]:
    return [round(x, 2) for x in (statistics.median(times), min(times), max(times))]


if __name__ == "__main__":
    main()
