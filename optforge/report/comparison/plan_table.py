"""The table of a plan: what would run, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from optforge.comparison.cost import Line
from optforge.report.text_table import TextTable
from optforge.report.words import duration


def plan_table(lines: Sequence[Line], workers: int, left: Sequence[int] | None = None) -> TextTable:
    """What would run, and what it costs.

    Args:
        lines: A task and an optimizer each.
        workers: That train at the same time.
        left: Runs of each line that are not finished; all of them by default.
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
    """Seconds of work of one worker that so many runs of a line still take, on the average."""
    return line.total * runs / line.cells if line.cells else 0.0
