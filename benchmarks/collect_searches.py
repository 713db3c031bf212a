"""Put the tables of several finished searches side by side.

    for seed in 1 2 3 4 5; do make search SEED=$seed; done     # each about eleven minutes
    python benchmarks/collect_searches.py RUN... -o results/search

Writes README.md with one row for each run, and copies each run's rule, table and picture.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from optforge.runs import Journal

FILES = ("best.py", "table.json", "table.md", "history.png")


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
        "*Tuned AdamW* is tuned for each task by itself, and so are the rule after its search and "
        "*constants only*, AdamW from a search in which only constants mutate: each by "
        f"{trials(first)}, its schedule with it. *One setting* is the rule tuned by as many "
        "trials to the same constants and schedule on all tasks, against AdamW tuned for each.",
        "",
        "| run | seed | programs | new | against tuned AdamW | against constants only | "
        "held out, against tuned AdamW | one setting, against tuned AdamW | state bytes | "
        "statements |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in arguments.runs:
        lines.append(row(run))
        target = arguments.output / run.name
        target.mkdir(parents=True, exist_ok=True)
        for name in (*FILES, *(path.name for path in run.glob("best_*.py"))):
            shutil.copy(run / name, target / name)
    versions = settings(arguments.runs[0])["versions"]
    lines += ["", f"Made with {versions}; commands in benchmarks/collect_searches.py."]
    (arguments.output / "README.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def trials(content: dict[str, Any]) -> str:
    """How many settings were tried for every row, as the table says it."""
    return f"{content['table']['rows'][0]['trials'].removesuffix(' a task')} trials a task"


def row(run: Path) -> str:
    content = json.loads((run / "table.json").read_text())
    table = content["table"]
    rows = {r["name"]: r for r in table["rows"]}
    found = rows["discovered"]
    best = content["finalists"][0]
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        counts = journal.counts()
    cells = [
        f"[{run.name}]({run.name}/table.md)",
        str(settings(run)["search"]["seed"]),
        str(counts["proposals"]),
        str(counts["verdicts"]),
        percent(found["proxies"]),
        percent(against_control(content.get("against", {}))),
        ", ".join(percent(found["tasks"][task]) for task in table["held_out"]),
        percent(rows["discovered, one setting"]["proxies"]),
        f"{found['state_bytes_per_parameter']:g}",
        str(best["live_statements"]),
    ]
    return "| " + " | ".join(cells) + " |"


def against_control(against: dict[str, Any]) -> dict[str, Any] | None:
    """The rule against the row of which only constants were searched."""
    return next((v for name, v in against.items() if name.endswith("constants only")), None)


def percent(interval: dict[str, Any] | None) -> str:
    if interval is None or None in (interval["mean"], interval["low"], interval["high"]):
        return "-"
    import math

    mean, low, high = (100 * math.expm1(interval[k]) for k in ("mean", "low", "high"))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def settings(run: Path) -> dict[str, Any]:
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        return journal.settings


if __name__ == "__main__":
    main()
