"""Tuned learning rates and decays of one optimizer over those of another, in finished comparisons.

    python benchmarks/rate_ratios.py FOLDER... [--of lion] [--over adamw]

Table 12 of Symbolic Discovery has Lion's rates 3 to 10 times below AdamW's and its decays as much
above. Prints the ratio on every task, and geometric means with 95 % intervals over tasks. Both were
tuned by as many trials, in ranges three times apart that grew where the best lay at an edge.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from optforge.report.text_table import TextTable
from optforge.report.words import ratio
from optforge.statistics import paired_interval

NAMES = ("lr", "weight_decay")


def main(arguments: list[str] | None = None) -> None:
    options = read_options(arguments)
    reports = [json.loads((path / "report.json").read_text()) for path in options.comparisons]
    rows = [row for report in reports for row in ratios(report, options.of, options.over)]
    if not rows:
        raise SystemExit(f"no task has a setting of both {options.of} and {options.over}")
    print_table(rows, f"{options.of} over {options.over}")


def ratios(report: Mapping[str, Any], of: str, over: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each task with log ratios by name; a value of 0 has none."""
    best = {(o["task"], o["recipe"]): dict(o["best"] or ()) for o in report["optimizers"]}
    for task in report["tasks"]:
        mine, other = best.get((task, of), {}), best.get((task, over), {})
        found = {name: (mine.get(name), other.get(name)) for name in NAMES}
        logs = {name: math.log(a / b) for name, (a, b) in found.items() if a and b}
        if logs:
            yield task, logs


def print_table(rows: list[tuple[str, dict[str, float]]], title: str) -> None:
    cells = [
        (task, *(f"{math.exp(logs[n]):.3g}" if n in logs else "-" for n in NAMES))
        for task, logs in rows
    ]
    means = (ratio(paired_interval([logs[n] for _, logs in rows if n in logs])) for n in NAMES)
    cells.append(("geometric mean", *means))
    table = TextTable(title, ("<task", *NAMES), tuple(cells))
    Console(width=110).print(table.markdown(), highlight=False)


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("comparisons", type=Path, nargs="+", help="folders of comparisons, with report.json")
    add("--of", default="lion", help="an optimizer (lion)")
    add("--over", default="adamw", help="another one (adamw)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
