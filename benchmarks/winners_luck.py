"""How much of a winner's fitness in the search was luck, and what would have told it?

    python benchmarks/winners_luck.py RUN...

A winner is the best of thousands on the seeds of the search, so its fitness there is too good. Two
figures that a search has before its end are held against the fitness on 30 fresh seeds a task: the
fitness by which it was judged, and one less its luck, in which seeds on which it was measured again
count as much, or else the mean is added that all leaders lost by that.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy

from optforge.analysis import fingerprint
from optforge.language import parse
from optforge.runs import Journal

NAMES = ("as judged", "less luck")


def figures(run: Path) -> tuple[float, float, tuple[float, float]]:
    """Return fitness on fresh seeds, the width of its interval, and the two figures."""
    winner = json.loads((run / "table.json").read_text(encoding="utf-8"))["finalists"][0]
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        fitness = {verdict.fingerprint: verdict.fitness for verdict in journal.verdicts()}
        again = {
            event.detail["fingerprint"]: event.detail["fitness"]
            for event in journal.events()
            if event.kind == "rescore"
        }
    lost = [fresh - fitness[name] for name, fresh in again.items() if math.isfinite(fitness[name])]
    name = fingerprint(parse(winner["text"]))
    judged = fitness[name]
    expected = (judged + again[name]) / 2 if name in again else judged + float(numpy.mean(lost))
    return winner["fitness"], winner["high"] - winner["low"], (judged, expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    found = {run.name: figures(run) for run in parser.parse_args().runs}
    for name, (fresh, width, values) in found.items():
        told = ", ".join(f"{n} {v:+.4f}" for n, v in zip(NAMES, values, strict=True))
        print(f"{name}: on fresh seeds {fresh:+.4f}, interval {width:.4f} wide; {told}")
    for place, name in enumerate(NAMES):
        off = [(abs(values[place] - fresh), width) for fresh, width, values in found.values()]
        within = sum(distance < width for distance, width in off)
        mean = numpy.mean([distance for distance, _ in off])
        print(
            f"{name}: {mean:.4f} off in the mean, {within} of {len(off)} by less than the interval"
        )


if __name__ == "__main__":
    main()
