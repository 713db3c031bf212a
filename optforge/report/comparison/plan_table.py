"""The table of a plan: its runs and their cost."""

from __future__ import annotations

from collections.abc import Sequence

from optforge.comparison.cost import Line
from optforge.report.text_table import TextTable
from optforge.report.words import duration


def plan_table(lines: Sequence[Line], workers: int, left: Sequence[int] | None = None) -> TextTable:
    """Return the table of planned runs and their cost.

    Args:
        lines: Lines of the plan, one per task and optimizer.
        workers: Number of workers that train at the same time.
        left: Number of unfinished runs of each line; all of them by default.
    """
    left = [line.cells for line in lines] if left is None else left
    rows = [
        (
            line.task,
            line.recipe,
            str(line.tuning),
            str(line.finals),
            str(line.sweeps),
            str(line.cells - runs),
            duration(line.seconds + line.validations),
            duration(seconds_left(line, runs) / workers),
        )
        for line, runs in zip(lines, left, strict=True)
    ]
    total = sum(map(seconds_left, lines, left)) / workers
    cells, whole = sum(left), sum(line.cells for line in lines)
    fresh = cells == whole
    runs_text = f"{cells} runs" if fresh else f"{cells} of {whole} runs"
    rows.append(("all", "", "", "", runs_text, "", "", duration(total)))
    return TextTable(
        f"The plan, at most, on {workers} worker{'s' if workers > 1 else ''}"
        + ("" if fresh else "; the time is that of the runs that are not finished"),
        ("<task", "<optimizer", "tuning", "final", "other", "finished", "longest run", "time"),
        tuple(rows),
    )


def seconds_left(line: Line, runs: int) -> float:
    """Return the average seconds that one worker needs for the remaining runs of a line."""
    return line.total * runs / line.cells if line.cells else 0.0
