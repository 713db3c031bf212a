"""Measure what AdamW, Adafactor and Lion cost in memory and time on Vision Transformers.

    python benchmarks/image_memory.py [--json FILE|-] [--quick] [--batches 1,4] [--budget MB]

Three parts; run it on an idle machine, it takes under ten minutes:

1. ViT-B/16 at 224 pixels, float32, full size. Forward and backward pass are timed once in every
   repeat, then all optimizers take a step on the same gradients, one after another. Steps a second
   are one over the sum of both; the ratio to AdamW is the geometric mean of the ratios within a
   repeat, with a Student-t 95 % interval. Optimizer bytes are those of the states that they hold.
2. The largest Vision Transformer that fits a budget of memory, tried: ViT-B/16 with ever more
   blocks trains two steps on one image, in a process whose data segment may grow
   by so many megabytes. The peak that is shown is the growth of resident memory, in which pages of
   libraries are as well, so it may lie a little above. The number of blocks is found by bisection.
3. The largest of the paper's models that fits a given memory, computed: weights, gradients, states,
   and what the forward pass keeps of 8 images (counted on the meta device, float32, nothing
   recomputed). Temporary memory of the steps is not in it; part 2 has it.

`--quick` shows in a minute that everything works, with figures that mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from measures.image_models import LR, ROWS, Row, paper_model, saved_bytes, state_bytes, try_depth
from measures.machine import load, machine
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from optforge.comparison.cells.measurements import optimizer_bytes
from optforge.statistics import paired_interval

GIGABYTES = (8, 16, 24, 40, 80)
MODELS = ("vit_s16", "vit_b16_jft", "vit_l16_jft", "vit_h14_jft", *(f"vit_{n}_g14_jft" for n in
          ("small", "large")))  # fmt: skip
TRIED = [row for row in ROWS if not row.fused]


def main(arguments: list[str] | None = None) -> None:
    options = read_options(arguments)
    if options.child:
        child(*options.child)
        return
    console = Console(stderr=options.json == "-", highlight=False)
    if not console.is_terminal:
        console.width = 110
    about = {**machine(1), "threads_a_worker": torch.get_num_threads()}
    found = {
        "settings": {"lr": LR, "budget_mb": options.budget, "repeats": options.repeats},
        "steps": steps(options, console),
        "tried": tried(options, console),
        "computed": computed(options),
    }
    about["load_after"] = load()
    if options.json:
        text = json.dumps({"quick": options.quick, "machine": about, **found}, indent=2) + "\n"
        sys.stdout.write(text) if options.json == "-" else Path(options.json).write_text(text)
    show(console, found, about)


def steps(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Part 1."""
    size = 32 if options.quick else 224
    reduced = {"image_size": size, "reduced": True} if options.quick else {}
    model = paper_model("vit_b16", 10 if options.quick else 1000, **reduced)
    optimizers = {row.name: row.make(model) for row in ROWS}
    shapes = [int(batch) for batch in options.batches.split(",")]
    passes: dict[int, list[float]] = {batch: [] for batch in shapes}
    taken: dict[str, list[float]] = {row.name: [] for row in ROWS}
    for repeat in range(options.repeats + 1):  # the first makes states and compiles
        for batch in shapes:
            passes[batch].append(timed(lambda b=batch: backward(model, b, size)))
        for name, optimizer in optimizers.items():
            taken[name].append(timed(optimizer.step))
        console.print(f"repeat {repeat}: " + ", ".join(f"{b}: {t[-1]:.2f} s" for b, t in
                      passes.items()), style="dim")  # fmt: skip
    rows = {}
    for name, optimizer in optimizers.items():
        rows[name] = {
            "bytes": optimizer_bytes(optimizer),
            "step_ms": [round(1000 * t, 2) for t in taken[name][1:]],
            "first_step_s": round(taken[name][0], 3),
        }
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "passes_s": {str(b): [round(t, 4) for t in times[1:]] for b, times in passes.items()},
        "rows": rows,
    }


def backward(model: nn.Module, batch: int, size: int) -> None:
    model.zero_grad()
    x, y = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))
    functional.cross_entropy(model(x), y).backward()


def timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def tried(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Part 2."""
    found = {}
    for row in TRIED:
        low, high, best = 0, options.deepest + 1, {}
        while high - low > 1:
            depth = (low + high) // 2
            result = attempt(row.name, depth, options.budget)
            console.print(f"{row.name}, {depth} blocks: {result or 'does not fit'}", style="dim")
            low, high, best = (depth, high, result) if result else (low, depth, best)
        found[row.name] = {"blocks": low, **best}
    return found


def attempt(name: str, depth: int, megabytes: int) -> dict[str, float]:
    """Train in a process of its own; nothing if the memory does not reach."""
    command = [sys.executable, __file__, "--child", name, str(depth), str(megabytes)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = done.stderr
    if "allocate memory" in said or "MemoryError" in said or "bad_alloc" in said:
        return {}
    raise RuntimeError(f"{' '.join(command)} failed:\n{said[-2000:]}")


def child(name: str, depth: str, megabytes: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    print(json.dumps(try_depth(row, int(depth), int(megabytes), batch=1)))


def computed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Part 3."""
    rows = []
    for name in MODELS[:1] if options.quick else MODELS:
        model = paper_model(name, device="meta")
        shapes = [p.shape for p in model.parameters()]
        count = sum(shape.numel() for shape in shapes)
        states = {row.name: _states(row, shapes) for row in TRIED}
        rows.append(
            {
                "model": name,
                "parameters": count,
                "activations": saved_bytes(model, 8, 224),
                "bytes": {key: 8 * count + value for key, value in states.items()},
            }
        )
    return rows


def _states(row: Row, shapes: list[torch.Size]) -> int:
    """Each distinct shape is stepped once, and counted as often as it occurs."""
    distinct = {shape: shapes.count(shape) for shape in shapes}
    return sum(times * state_bytes(row, [shape]) for shape, times in distinct.items())


def show(console: Console, found: dict[str, Any], about: dict[str, Any]) -> None:
    about_text = ", ".join(f"{key} {value}" for key, value in about.items())
    console.print(f"\n{about_text}\n", style="dim")
    console.print(steps_table(found["steps"]))
    console.print(tried_table(found["tried"], found["settings"]["budget_mb"]))
    console.print(computed_table(found["computed"]))


def steps_table(found: dict[str, Any]) -> Table:
    passes, rows = found["passes_s"], found["rows"]
    table = Table(title=f"1. ViT-B/16, {found['parameters'] / 1e6:.2f} M parameters", box=None)
    table.add_column("optimizer")
    for column in ("MB", "bytes/param", "ms a step [range]"):
        table.add_column(column, justify="right")
    for batch in passes:
        table.add_column(f"steps/s, batch {batch}", justify="right")
        table.add_column("to AdamW [95 %]", justify="right")
    for name, row in rows.items():
        cells = [name, f"{row['bytes'] / 1e6:.1f}", f"{row['bytes'] / found['parameters']:.2f}"]
        cells.append(_ranged(row["step_ms"], "{:.0f}"))
        for times in passes.values():
            mine, base = (whole(times, rows[key]["step_ms"]) for key in (name, "AdamW"))
            cells.append(f"{1 / statistics.median(mine):.3f}")
            cells.append(_ratio(mine, base))
        table.add_row(*cells)
    return table


def whole(passes: list[float], milliseconds: list[float]) -> list[float]:
    return [a + b / 1000 for a, b in zip(passes, milliseconds, strict=True)]


def _ratio(mine: list[float], base: list[float]) -> str:
    """Steps a second over those of the baseline, paired within repeats, Student-t 95 %."""
    told = paired_interval([math.log(b / m) for m, b in zip(mine, base, strict=True)])
    middle, low, high = (math.exp(value) for value in (told.mean, told.low, told.high))
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def _ranged(values: list[float], form: str) -> str:
    low, middle, high = (form.format(f(values)) for f in (min, statistics.median, max))
    return f"{middle} [{low}, {high}]"


def tried_table(found: dict[str, Any], budget: int) -> Table:
    table = Table(title=f"\n2. Largest ViT of width 768 that trains in {budget} MB", box=None)
    table.add_column("optimizer")
    for column in ("blocks", "M parameters", "peak MB"):
        table.add_column(column, justify="right")
    for name, row in found.items():
        millions = f"{row.get('parameters', 0) / 1e6:.1f}"
        table.add_row(name, str(row["blocks"]), millions, str(row.get("peak_mb", "-")))
    return table


def computed_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="\n3. GB of weights, gradients, states and 8 images; what fits", box=None)
    table.add_column("model")
    table.add_column("M params", justify="right")
    for row in TRIED:
        table.add_column(row.name, justify="right")
    for row in rows:
        cells = [(value + row["activations"]) / 1e9 for value in row["bytes"].values()]
        millions = f"{row['parameters'] / 1e6:.0f}"
        table.add_row(row["model"], millions, *(f"{cell:.1f}" for cell in cells))
    for memory in GIGABYTES:
        table.add_row(
            f"largest in {memory} GB", "", *(_largest(rows, r.name, memory) for r in TRIED)
        )
    return table


def _largest(rows: list[dict[str, Any]], name: str, memory: int) -> str:
    fits = [r["model"] for r in rows if r["bytes"][name] + r["activations"] <= memory * 1e9]
    return fits[-1].removesuffix("_jft") if fits else "-"


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--json", metavar="FILE", help="write all figures there; - for standard output")
    add("--quick", action="store_true", help="tiny sizes: only to see that it works")
    add("--batches", metavar="N,...", default="1,4", help="images a step of part 1 (1,4)")
    add("--budget", type=int, metavar="MB", help="memory of part 2 (1500; quick: 400)")
    add("--repeats", type=int, help="of part 1 (5; quick: 2)")
    add("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.budget = options.budget or (400 if options.quick else 1500)
    options.repeats = options.repeats or (2 if options.quick else 5)
    options.deepest = 3 if options.quick else 22
    if not all(part.strip().isdigit() and int(part) for part in options.batches.split(",")):
        parser.error(f"--batches is {options.batches!r}; give numbers of images, as in 1,4")
    return options


if __name__ == "__main__":
    main()
