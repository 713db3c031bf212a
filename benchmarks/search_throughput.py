"""Measure how fast a search generates, trains and judges programs, and what memory it takes.

    python benchmarks/search_throughput.py [--json FILE|-] [--quick] [--only SECTION,...]

A table goes to the screen and, with `--json`, all figures to a file (`-`: to standard output, the
table then to standard error). Medians are printed with the range of their repeats. Times differ
from machine to machine: compare ratios, and only within one run. Run it on an idle machine. It
takes about a quarter of an hour with the defaults; `--quick` shows in a minute that everything
works, with figures that mean nothing. Nothing is asserted; "wanted" is what the project aims at.

Sections and their keys:

generating  `generated_per_second`: programs drawn a second (mutate, check, liveness, fingerprint,
            look up) by one process with one thread, in the state a search is in after 20,000
            programs. The search is real, the verdicts are not: they are made from the programs'
            text. `commit_microseconds` is what the journal takes for a program, apart.
training    `speedup_vs_single`: seconds a candidate of an ordinary eager PyTorch loop, one
            candidate at a time on one or two threads (the faster counts), over those of the
            population trainer on all workers, AdamW as a program in both, validation included,
            nobody rejected. `peak_share`: arithmetic of forward and backward passes over time, as
            a share of what float32 matrix products reach on all workers in the same round; the
            time holds the validation as well, the arithmetic does not. With the ending
            `_uncompiled` the same without `torch.compile`. Compiling is not counted in either;
            it is reported, and short where the compiler finds its cache.
matrices    `time_with_orthogonalize` and the like: time of a candidate with that function applied
            to AdamW's update, three seeds, over that of AdamW in the same round.
search      `evaluated_per_second` (new fingerprints), `judged_per_second` (programs that got a
            verdict, known ones included), `full_verdicts_per_second`, `cache_share`,
            `overhead_share` (1 - seconds of training in verdicts / (workers x elapsed); re-scoring
            counts as overhead) and `worker_mb` (largest resident memory of a worker) of real
            searches from AdamW with default mutations, without a constants phase: `mlp_only`
            (mnist_mlp alone, three seeds for survivors), `mlp_only_paper` (with the paper's form
            of each mutation, which makes more known programs) and `default_suite`. Counted from
            the commit of the first batch, when all workers are ready, to that of the last. Work on
            its way at the end is not counted: with few batches the rates are too low and the
            overhead too high, so raise `--seconds` there.
minutes     `minutes_to_7_percent`: from the call of `optforge search`, as `make search` makes it,
            to the first leader that has 7 % less loss than tuned AdamW on fresh seeds, on which
            leaders are measured again; median of six seeds, infinite where six minutes of search
            find none. Imports do not count, compiling does where the compiler's cache is cold. It
            takes up to forty minutes, so it is measured where `--only` names it.
memory      `search_mb`: resident memory of the searching process after 100,000, 200,000 and
            300,000 programs, with made-up verdicts. In the JSON under `memory`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from measures.cores import Core
from measures.generating import generating, memory
from measures.machine import load, machine
from measures.matrices import matrices
from measures.patience import GAIN, patience
from measures.report import WANTED, Report
from measures.searching import CONFIGURATIONS, searching
from measures.training import TASKS, training
from rich.console import Console

from optforge.training import has_compiler

SECTIONS = ("generating", "training", "matrices", "search", "memory", "minutes")
DEFAULT = SECTIONS[:-1]


def main(arguments: list[str] | None = None) -> None:
    options = read_options(arguments)
    if options.list:
        print_list()
        return
    console = Console(stderr=options.json == "-", highlight=False)
    if not console.is_terminal:
        console.width = 120
    say = console.print
    about, report = machine(options.workers), Report()
    for section in options.only:
        SECTION[section](options, report, say)
    about["load_after"] = load()
    report.show(console, about)
    if options.json:
        text = json.dumps({"quick": options.quick, **report.json(about)}, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text, encoding="utf-8")


def run_generating(options: argparse.Namespace, report: Report, say: Any) -> None:
    before, timed = (300, 200) if options.quick else (20_000, 10_000)
    runs = []
    for seed in range(options.repeats):
        say(f"generating: {timed:,} programs after {before:,}, seed {seed}")
        with Core() as core:
            runs.append(core.call(generating, seed, before, timed))
    report.add_generating(runs)


def run_training(options: argparse.Namespace, report: Report, say: Any) -> None:
    report.add_training(
        training(options.workers, options.repeats, options.quick, options.compile, say)
    )


def run_matrices(options: argparse.Namespace, report: Report, say: Any) -> None:
    report.add_matrices(
        matrices(options.workers, options.repeats, options.quick, options.compile, say)
    )


def run_search(options: argparse.Namespace, report: Report, say: Any) -> None:
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in options.configurations}
    for seed in range(options.searches):
        for name, runs in results.items():
            say(f"search: {name}, {options.seconds:g} s, seed {seed}")
            runs.append(searching(name, seed, options.workers, options.seconds, options.compile))
    report.add_searching(results)


def run_memory(options: argparse.Namespace, report: Report, say: Any) -> None:
    marks = (400, 800, 1200) if options.quick else (100_000, 200_000, 300_000)
    say(f"memory: {marks[-1]:,} programs")
    with Core() as core:
        report.add_memory(core.call(memory, 0, marks))


def run_minutes(options: argparse.Namespace, report: Report, say: Any) -> None:
    limit, found = (0.05 if options.quick else 6.0), []
    for seed in range(options.patience):
        say(f"minutes: to {GAIN:.0%} less loss than tuned AdamW, seed {seed}")
        found.append(patience(seed, options.workers, limit, options.compile))
        say(", ".join(f"{name} {value:.3g}" for name, value in found[-1].items()))
    report.add_patience(found)


SECTION = {
    "generating": run_generating,
    "training": run_training,
    "matrices": run_matrices,
    "search": run_search,
    "memory": run_memory,
    "minutes": run_minutes,
}


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--json", metavar="FILE", help="write all figures there; - for standard output")
    add("--quick", action="store_true", help="tiny sizes, uncompiled: only to see that it works")
    add("--only", metavar="SECTION,...", default=",".join(DEFAULT), help=", ".join(SECTIONS))
    add("--list", action="store_true", help="list sections, tasks and what is aimed at")
    add("--workers", type=int, default=2, help="processes of one thread each (2)")
    add("--repeats", type=int, help="of timings (3; quick: 1)")
    add("--searches", type=int, help="with different seeds (3, minutes 6; quick: 1)")
    add("--seconds", type=float, help="length of each search (60; quick: 2)")
    add(
        "--configurations",
        metavar="NAME,...",
        help=f"{', '.join(CONFIGURATIONS)} (quick: mlp_only)",
    )
    add("--no-compile", action="store_true", help="measure without torch.compile")
    options = parser.parse_args(arguments)
    options.only = _choice(parser, options.only, SECTIONS)
    # Two batches of the default suite take minutes on a busy machine, uncompiled.
    names = options.configurations or ("mlp_only" if options.quick else ",".join(CONFIGURATIONS))
    options.configurations = _choice(parser, names, tuple(CONFIGURATIONS))
    options.repeats = options.repeats or (1 if options.quick else 3)
    options.patience = options.searches or (1 if options.quick else 6)
    options.searches = options.searches or (1 if options.quick else 3)
    options.seconds = options.seconds or (2.0 if options.quick else 60.0)
    options.compile = has_compiler() and not (options.quick or options.no_compile)
    for name in ("workers", "repeats", "searches", "seconds"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} is {getattr(options, name)}; it must be above 0")
    return options


def print_list() -> None:
    print("sections:      ", ", ".join(SECTIONS))
    print("tasks:         ", ", ".join(TASKS))
    print("configurations:", ", ".join(CONFIGURATIONS))
    print("wanted:")
    for (key, of), value in WANTED.items():
        print(f"  {key} {of}".ljust(48), value)


def _choice(parser: argparse.ArgumentParser, text: str, allowed: tuple[str, ...]) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    for name in chosen:
        if name not in allowed:
            parser.error(f"there is no {name!r}; there are {', '.join(allowed)}")
    return [name for name in allowed if name in chosen]


if __name__ == "__main__":
    main()
