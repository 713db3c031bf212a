"""How much of a winner's fitness in the search was luck, and what would have told it?

    python benchmarks/winners_luck.py RUN...

A winner is the best of thousands on the seeds of the search, so its fitness there is too good. Two
figures that chose it are held against its fitness on the fresh seeds of the last round: the one by
which it was judged in the search, and the one of all seeds that chose it, those on which it was
measured again and the first round's among them, which its table shows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy

from optforge.analysis import fingerprint
from optforge.language import parse
from optforge.runs import Journal

NAMES = ("as judged", "when chosen")


def figures(run: Path) -> tuple[float, float, tuple[float, float]]:
    """Return fitness on fresh seeds, the width of its interval, and the two figures."""
    winner = json.loads((run / "table.json").read_text(encoding="utf-8"))["finalists"][0]
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        fitness = {verdict.fingerprint: verdict.fitness for verdict in journal.verdicts()}
    judged = fitness[fingerprint(parse(winner["text"]))]
    return winner["fitness"], winner["high"] - winner["low"], (judged, winner["search_fitness"])


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
