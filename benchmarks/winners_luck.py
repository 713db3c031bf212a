"""How much of a winner's fitness in the search was luck, and what would have told it?

    python benchmarks/winners_luck.py RUN...

A winner is the best of thousands on the seeds of the search, so its fitness there is too good.
Three figures that a search has before its end are held against the fitness on 30 fresh seeds a
task: the fitness itself; the same measured on fresh seeds during the search, where it was; and the
fitness plus the mean that all leaders lost when they were measured again.
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

NAMES = ("in the search", "measured again", "with the leaders' loss")


def figures(run: Path) -> tuple[float, float, tuple[float, float, float]]:
    """Return fitness on fresh seeds, the width of its interval, and the three figures."""
    winner = json.loads((run / "table.json").read_text(encoding="utf-8"))["finalists"][0]
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        fitness = {verdict.fingerprint: verdict.fitness for verdict in journal.verdicts()}
        again = {
            event.detail["fingerprint"]: event.detail["fitness"]
            for event in journal.events()
            if event.kind == "rescore"
        }
    lost = [fresh - fitness[name] for name, fresh in again.items() if math.isfinite(fitness[name])]
    mine = winner["search_fitness"]
    measured = again.get(fingerprint(parse(winner["text"])), math.nan)
    width = winner["high"] - winner["low"]
    return winner["fitness"], width, (mine, measured, mine + float(numpy.mean(lost)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    found = {run.name: figures(run) for run in parser.parse_args().runs}
    for name, (fresh, width, values) in found.items():
        told = ", ".join(f"{n} {v:+.4f}" for n, v in zip(NAMES, values, strict=True))
        print(f"{name}: on fresh seeds {fresh:+.4f}, interval {width:.4f} wide; {told}")
    for place, name in enumerate(NAMES):
        pairs = [(v[place] - fresh, width) for fresh, width, v in found.values()]
        known = [(d, width) for d, width in pairs if math.isfinite(d)]
        within = sum(abs(d) < width for d, width in known)
        mean = numpy.mean([abs(d) for d, _ in known]) if known else math.nan
        print(f"{name}: {mean:.4f} off in the mean, {within} of {len(known)} by less than that")


if __name__ == "__main__":
    main()
