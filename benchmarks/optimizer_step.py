"""Measure what a step of Lion costs, next to torch's optimizers and to other Lions.

    python benchmarks/optimizer_step.py [--json FILE|-] [--quick] [--only SIZE,...]
        [--row NAME ...] [--no-rules] [--no-first] [--processor-time]

All optimizers of a size share parameters and gradients and take turns: one measurement each in
every repeat. Run it on an idle machine; with the defaults it takes under ten minutes, and the
first run compiles. `--quick` shows in a minute that everything works, with figures that mean
nothing. Nothing is asserted; "wanted" is what the project aims at.

Where other programs run, ratios of processor time still mean something: `--processor-time
--threads 1`, with a `--row` for each optimizer that is wanted. The figures at the end are medians
of the ratios within a repeat.

Columns: median milliseconds a step with the range of the repeats; ratio to torch's fused AdamW
(median of the ratios within a repeat); ratio to the bound by memory traffic; bytes of state a
parameter; the most memory that a step needs beyond what is kept, in MB.

The bound: a step must read weights, gradients and state and write weights and state. That many
bytes, at the bandwidth that `x.add_(1.0)` reaches in the same repeat on one tensor as large as
all weights together (it reads and writes x), is ratio 1. Small sizes fit the cache, so there the
bound is no bound of the memory. Rows that are far slower than others have fewer repeats.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from measures.contestants import CONTESTANTS, rules
from measures.machine import load, machine
from measures.step_report import StepReport
from measures.steps import Size, first_steps, time_size
from rich.console import Console

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHAPES = {"20M": (20_000_000, 20), "2M": (2_000_000, 400)}


def sizes(quick: bool) -> dict[str, Size]:
    """Return the four sizes by name; quick ones are a hundredth."""
    made = {}
    for shape, (elements, tensors) in SHAPES.items():
        for name, dtype in DTYPES.items():
            count = elements // 100 if quick else elements
            made[f"{shape}-{name}"] = Size(f"{shape}-{name}", count, tensors, dtype)
    return made


def main(arguments: list[str] | None = None) -> None:
    options = read_options(arguments)
    console = Console(stderr=options.json == "-", highlight=False)
    if not console.is_terminal:
        console.width = 120
    torch.set_num_threads(options.threads)
    about, report = machine(1), StepReport()
    about["threads_a_worker"] = options.threads
    about["time"] = "of the processor" if options.processor_time else "on the wall"
    if not options.quick and options.first:
        for elements in (2_000_000, 20_000_000):
            console.print(f"first fused step of 400 tensors, {elements:,} parameters")
            report.add_first_steps(first_steps(elements))
    for name in options.only:
        size = sizes(options.quick)[name]
        contestants = list(CONTESTANTS)
        if name == "20M-float32" and options.rules:
            contestants += rules()
        if options.row:
            contestants = [row for row in contestants if row.name in options.row]
        clock = time.process_time if options.processor_time else time.perf_counter
        timed = time_size(size, contestants, options.repeats, console.print, clock)
        report.add_size(size, *timed)
    about["load_after"] = load()
    report.show(console, about)
    if options.json:
        text = json.dumps({"quick": options.quick, **report.json(about)}, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text, encoding="utf-8")


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--json", metavar="FILE", help="write all figures there; - for standard output")
    add("--quick", action="store_true", help="tiny sizes: only to see that it works")
    names = list(sizes(True))
    add("--only", metavar="SIZE,...", default=",".join(names), help=", ".join(names))
    add("--row", action="append", metavar="NAME", help="only this optimizer; may be repeated")
    add("--processor-time", action="store_true", help="in place of wall time; with --threads 1")
    add("--no-rules", dest="rules", action="store_false", help="leave out the shipped rules")
    add("--no-first", dest="first", action="store_false", help="leave out the first steps")
    add("--repeats", type=int, help="of each measurement (20; quick: 2)")
    add("--threads", type=int, default=torch.get_num_threads(), help="of torch (all cores)")
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    for name in options.only:
        if name not in names:
            parser.error(f"there is no size {name!r}; there are {', '.join(names)}")
    options.repeats = options.repeats or (2 if options.quick else 20)
    rows = [row.name for row in (*CONTESTANTS, *rules())]
    for name in options.row or ():
        if name not in rows:
            parser.error(f"there is no row {name!r}; there are {'; '.join(rows)}")
    for name in ("repeats", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 1")
    return options


if __name__ == "__main__":
    main()
