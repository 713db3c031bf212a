"""Put the tables of several finished searches side by side.

    for seed in 1 2 3 4 5; do make search SEED=$seed; done     # each about fourteen minutes
    python benchmarks/collect_searches.py RUN... -o results/search

Writes README.md with one row for each run, and copies each run's rule, table and picture.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

from optforge.assessment.rows import ADAMW, FOUND, MUON, ONE_SETTING, STRAIGHT, control_name
from optforge.assessment.table import Table
from optforge.report.search.table_json import table_from_json
from optforge.report.text_table import TextTable
from optforge.report.words import percent
from optforge.runs import Journal
from optforge.statistics import Interval

FILES = ("best.py", "table.json", "table.md", "history.png")


PROSE = "\n## About these searches\n"  # what was written by hand begins here, and stays


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the tables of several searches side by side.")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/search"))
    arguments = parser.parse_args()
    first = json.loads((arguments.runs[0] / "table.json").read_text())
    repeats = first["table"]["repeats"]
    lines = [
        "# What searches found",
        "",
        f"Change of test loss on {repeats} fresh seeds a task, in percent, with Student-t 95 % "
        "intervals of paired differences; mean over the three proxy tasks unless a task is named. "
        "Every optimizer and every rule is tuned by as many trials: rate, decay, averages and the "
        "shape of the schedule, for each task by itself (first columns) or with one setting for "
        "all. *Kept* is the share of the gain over tuned AdamW that is left after the most that "
        "single things explain, or all at once, which anybody may tune of AdamW.",
        "",
        TextTable("", COLUMNS, tuple(map(row, arguments.runs))).markdown(),
    ]
    for run in arguments.runs:
        target = arguments.output / run.name
        target.mkdir(parents=True, exist_ok=True)
        for name in (*FILES, *(path.name for path in run.glob("best_*.py"))):
            shutil.copy(run / name, target / name)
    versions = settings(arguments.runs[0])["versions"]
    lines += ["", f"Made with {versions}; commands in benchmarks/collect_searches.py."]
    page = arguments.output / "README.md"
    _, mark, prose = page.read_text().partition(PROSE) if page.exists() else ("", "", "")
    page.write_text("\n".join(lines) + "\n" + mark + prose)
    print("\n".join(lines))


def in_percent(interval: Interval | None) -> str:
    if interval is None or not all(
        map(math.isfinite, (interval.low, interval.mean, interval.high))
    ):
        return "-"
    return percent(interval).replace(" %", "")


def row(run: Path) -> tuple[str, ...]:
    content = json.loads((run / "table.json").read_text())
    table = content["table"]
    rows = {r["name"]: r for r in table["rows"]}
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        counts = journal.counts()
    differences = of_table(table_from_json(table))
    explanation, gain = content.get("explanation"), differences[0]
    has_gain = gain is not None and gain.high < 0  # of nothing there is no share
    return (
        f"[{run.name}]({run.name}/table.md)",
        str(settings(run)["search"]["seed"]),
        str(counts["proposals"]),
        str(counts["verdicts"]),
        *(in_percent(difference) for difference in differences),
        f"{100 * explanation['share_kept']:.0f} %" if has_gain and explanation else "-",
        f"{rows[FOUND]['state_bytes_per_parameter']:g}",
    )


COLUMNS = (
    "<run",
    "<seed",
    "<programs",
    "<new",
    "<against tuned AdamW",
    "<against tuned Muon",
    "<against constants only",
    "<schedule straightened, against tuned AdamW",
    "<held out, against tuned AdamW",
    "<one setting, against AdamW's",
    "<one setting, against Muon's",
    "<one setting, held out, against AdamW's",
    "<kept",
    "<state bytes",
)


def of_table(table: Table) -> list[Interval | None]:
    """Return the figures of the columns; None where a row is missing."""
    control = control_name(table)
    held_out = table.held_out[0] if table.held_out else None
    one, pairs = FOUND + ONE_SETTING, [(FOUND, ADAMW), (FOUND, MUON), (FOUND, control)]
    pairs += [(STRAIGHT, ADAMW)]
    found = [_difference(table, *pair) for pair in pairs]
    found.append(None if held_out is None else table.difference_on(held_out, FOUND, ADAMW))
    found += [_difference(table, one, name + ONE_SETTING) for name in (ADAMW, MUON)]
    there = held_out is not None and table.has(one) and table.has(ADAMW + ONE_SETTING)
    found.append(table.difference_on(held_out or "", one, ADAMW + ONE_SETTING) if there else None)
    return found


def _difference(table: Table, name: str, other: str | None) -> Interval | None:
    there = other is not None and table.has(name) and table.has(other)
    return table.difference(name, other) if there else None  # type: ignore[arg-type]


def settings(run: Path) -> dict[str, Any]:
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        return journal.settings


if __name__ == "__main__":
    main()
