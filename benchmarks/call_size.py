"""What share of the machine's peak a gradient call reaches, and what would change it.

    python benchmarks/call_size.py [--tasks mnist_mlp,mnist_vit] [--ways NAME,...] [--json FILE]

A search trains candidates in calls of a fixed number of models (`Stack.rows`). For each way and
task: milliseconds a step of one model in such a call, and the share of what float32 matrix products
reach, medians of interleaved rounds in one process with one thread. Compare within one run only.
Compiling takes up to a minute a way, most of the time. Nothing is asserted.

Ways:

present     what a search runs
double      twice as many models a call
quadruple   four times as many
same_batch  all models of a call see the same batch, as with one seed: layers that read it become
            one product for all models
autotuned   the compiler's own matrix products, with what follows them fused in, where it measures
            them to be faster than the library's
library     attention's tiny products left to the library
rules       no call: a step of AdamW's rule for as many models, which follows each call
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measures.machine import load, machine, spread
from measures.training import count_flops, product_peak
from rich.console import Console
from rich.table import Table
from torch._inductor import config

from optforge.analysis import live_program
from optforge.language import load_rule
from optforge.tasks import PROXY_TASKS, load_task
from optforge.training import Stack, keep_freed_memory, kernel, trainee
from optforge.training.kernel import compiled, gradient_kernel
from optforge.training.rules import rules_for

WAYS = {
    **{"present": 1, "double": 2, "quadruple": 4, "same_batch": 1, "autotuned": 1, "library": 1},
    "rules": 1,
}
Call = Callable[[], Any]


def main() -> None:
    options = read_options()
    torch.set_num_threads(1)
    keep_freed_memory()
    about, figures = machine(1), {name: measured(name, options) for name in options.tasks}
    about["load_after"] = load()
    table = Table("task", "way", "models a call", "ms a model", "to present", "share of peak")
    for name, rows in figures.items():
        for way, row in rows.items():
            table.add_row(
                name, way, str(row["rows"]), f"{row['ms']:.4f}", f"{row['to_present']:.2f}",
                f"{row['share']:.1%}",
            )  # fmt: skip
    Console().print(table)
    if options.json:
        text = json.dumps({"machine": about, "calls": figures}, indent=1) + "\n"
        Path(options.json).write_text(text, encoding="utf-8")


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time all ways of a task in interleaved rounds."""
    task = load_task(name)
    flops = count_flops(name, None)[0][0] / task.steps
    calls = {way: built(name, way) for way in options.ways}
    times: dict[str, list[float]] = {way: [] for way in calls}
    peaks = []
    for _ in range(options.rounds):
        peaks.append(product_peak(0.3))
        for way, (rows, call) in calls.items():
            times[way].append(seconds(call, options.seconds) / rows)
    figures = {}
    for way, (rows, _) in calls.items():
        shares = [flops / t / peak for t, peak in zip(times[way], peaks, strict=True)]
        ratios = [t / first for t, first in zip(times[way], times[options.ways[0]], strict=True)]
        figures[way] = {
            "rows": rows,
            "ms": 1e3 * spread(times[way]).median,
            "to_present": spread(ratios).median,
            "to_present_range": spread(ratios).range,
            "share": spread(shares).median,
        }
    return figures


def built(name: str, way: str) -> tuple[int, Call]:
    """Compile the gradient call of a task in one way; return its rows and the call."""
    stack = Stack(load_task(name), compile=True)
    rows = WAYS[way] * stack.rows
    weights, (inputs, targets) = stack.initial([0] * rows), stack.batch(0, 0)
    if way == "rules":
        gradient = 0.01 * torch.randn_like(weights)
        rules = rules_for(stack, [trainee(live_program(load_rule("adamw")))] * rows, 1)
        rules.place(list(range(rows)), weights, gradient)
        return rows, lambda: rules.step(0)
    shared = way == "same_batch"
    if not shared:
        inputs, targets = (p.expand(rows, *p.shape).contiguous() for p in (inputs, targets))
    plain = gradient_kernel(stack._loss, stack.views, shared=shared)
    with contextlib.ExitStack() as changes:
        if way == "autotuned":
            tuned = config.patch(max_autotune=True, max_autotune_gemm_backends="CPP,ATEN")
            changes.enter_context(tuned)
        if way == "library":
            changes.callback(setattr, kernel, "_TINY_PRODUCT", kernel._TINY_PRODUCT)
            kernel._TINY_PRODUCT = 0
        fast = compiled(plain, weights, inputs, targets)
    return rows, lambda: fast(weights, inputs, targets)


def seconds(call: Call, limit: float) -> float:
    """Return the mean seconds of a call, repeated for some time."""
    call()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < limit:
        call()
        count += 1
    return (time.perf_counter() - begin) / count


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--tasks", metavar="NAME,...", default=",".join(PROXY_TASKS))
    add("--ways", metavar="NAME,...", default=",".join(WAYS), help="the first is the measure")
    add("--rounds", type=int, default=7)
    add("--seconds", type=float, default=0.3, help="of each timing (0.3)")
    add("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    options.tasks, options.ways = options.tasks.split(","), options.ways.split(",")
    for way in options.ways:
        if way not in WAYS:
            parser.error(f"there is no way {way!r}; there are {', '.join(WAYS)}")
    return options


if __name__ == "__main__":
    main()
