"""What the harness costs over the bare training loop.

    python benchmarks/compare_overhead.py [--json FILE|-] [--repeats 15]

Runs the same trainings three times in turn: as a bare loop written out here (model, batches,
schedule, forward, backward, optimizer, one look at validation and one at test data); as cells that
go through the runner, with keys, table on the disk, test data, measurements of time and memory, and
progress, but without a curve; and as the cells of final runs, which have one: about twenty
validations on the way where the task names no period, which the bare loop has not. One process, one
thread. Ratios are medians over repeats of processor time, with quartiles; all train to the same
losses. What a comparison does once, and not in every run, is not in it: a task's hash, the trial
step, a worker's imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measures.machine import load, machine
from rich.console import Console
from torch import nn

from optforge.comparison import Cell, CellTable, load_recipe, vary
from optforge.comparison.cells.runner import Bench, Runner
from optforge.tasks import Split, Task, batch_order, initial_model, load_task, schedule

TASKS = {"digits_mlp": 12, "mnist_vit": 3, "letters_cnn": 3}
SETTING = (("beta1", 0.9), ("beta2", 0.99), ("lr", 3e-3), ("weight_decay", 0.1))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - to print them")
    parser.add_argument("--repeats", type=int, default=15, help="of each measurement (15)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(stderr=options.json == "-", highlight=False)
    about = machine(1)
    rows = {name: measure(load_task(name), runs, options.repeats) for name, runs in TASKS.items()}
    for name, row in rows.items():
        for kind in ("without_curve", "with_curve"):
            told = row[kind]
            ends = " to ".join(f"{x:.3f}" for x in told["quartiles"])
            shown = kind.replace("_", " a ")
            console.print(f"{name}, {shown}: {told['ratio']:.3f} of the bare loop, {ends}")
    about["load_after"] = load()
    text = json.dumps({"machine": about, "tasks": rows}, indent=1) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    elif options.json:
        Path(options.json).write_text(text, encoding="utf-8")


def measure(task: Task, runs: int, repeats: int) -> dict[str, Any]:
    variant = vary(task, {})
    bench = Bench({variant.label: variant}, {"adamw": load_recipe("adamw")})
    bare(task, 0)
    harness(bench, range(1), curve=True)
    taken: dict[str, list[float]] = {"bare": [], "without_curve": [], "with_curve": []}
    for repeat in range(repeats):
        seeds = range(100 * repeat, 100 * repeat + runs)
        ways = {
            "bare": lambda s=seeds: [bare(task, seed) for seed in s],
            "without_curve": lambda s=seeds: harness(bench, s),
            "with_curve": lambda s=seeds: harness(bench, s, curve=True),
        }
        losses = []
        for name, way in ways.items():
            before = time.process_time()  # of this one thread; a neighbour's load does not count
            losses.append(way())
            taken[name].append(time.process_time() - before)
        if any(other != losses[0] for other in losses):
            raise RuntimeError(f"bare loop and cells of {variant.label} did not train the same")
    plain = taken.pop("bare")
    told = {name: ratios(times, plain) for name, times in taken.items()}
    return {**told, "seconds_a_run": statistics.median(plain) / runs}


def ratios(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratios within a repeat."""
    each = [one / other for one, other in zip(ours, theirs, strict=True)]
    quartiles = statistics.quantiles(each, n=4)
    return {"ratio": statistics.median(each), "quartiles": [quartiles[0], quartiles[2]]}


def bare(task: Task, seed: int) -> tuple[float, float]:
    """The loop that everybody writes."""
    model = initial_model(task, seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True
    )
    order, train = batch_order(task, seed), task.splits.train
    for step in range(task.steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * schedule(step, task.steps, task.warmup)
        rows = order[step]
        loss = task.loss(model(train.inputs[rows]), train.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return look(task, model, task.splits.validation), look(task, model, task.splits.test)


def look(task: Task, model: nn.Module, part: Split) -> float:
    output = model(part.inputs)
    task.metric(output, part.targets).item()
    return task.loss(output, part.targets).item()


def harness(bench: Bench, seeds: range, curve: bool = False) -> list[tuple[float, float]]:
    """The same as cells, with a table on the disk."""
    ((label, variant),) = bench.variants.items()
    variant.looks_at_memory.clear()  # memory is looked at as often as in a process that begins
    cells = [Cell(label, "adamw", SETTING, seed, curve=curve, test=True) for seed in seeds]
    with (
        tempfile.TemporaryDirectory() as folder,
        CellTable(Path(folder) / "cells.jsonl") as table,
        Runner(bench, table) as runner,
    ):
        return [(one.loss, one.test_loss) for one in runner.run(cells, "measuring")]


if __name__ == "__main__":
    main()
