"""Does the harness see differences where there are none?

    python benchmarks/compare_null.py [--pairs 400] [--json FILE|-]

Compares AdamW with itself on disjoint seeds, ten against ten, and tests whether the p-values are
uniform (Kolmogorov-Smirnov), and how many lie below 0.05 and 0.01 (with exact binomial intervals).
Takes about two minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from measures.machine import machine
from measures.null import null_p_values
from rich.console import Console
from scipy import stats


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=400, help="comparisons (400)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - to print them")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(stderr=options.json == "-", highlight=False)

    def watch(done: int) -> None:
        if done % 50 == 0:
            console.print(f"{done} of {options.pairs}")

    about = machine(1)
    told = summary(null_p_values(options.pairs, watch=watch))
    console.print({name: value for name, value in told.items() if name != "p_values"})
    text = json.dumps({"machine": about, **told}, indent=1) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    elif options.json:
        Path(options.json).write_text(text, encoding="utf-8")


def summary(values: list[float]) -> dict[str, object]:
    test = stats.kstest(values, "uniform")
    told: dict[str, object] = {"pairs": len(values), "uniform_p": float(test.pvalue)}
    for level in (0.05, 0.01):
        below = sum(value < level for value in values)
        interval = stats.binomtest(below, len(values)).proportion_ci()
        told[f"below_{level}"] = [below / len(values), float(interval.low), float(interval.high)]
    return {**told, "p_values": sorted(values)}


if __name__ == "__main__":
    main()
