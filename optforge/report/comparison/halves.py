"""The table of how much of a difference is luck of the tuning."""

from __future__ import annotations

import math

from optforge.comparison import Findings
from optforge.comparison.figures.tuning_variation import Halves, compare_halves
from optforge.report.text_table import TextTable
from optforge.report.words import percent, points
from optforge.statistics import Interval


def halves_table(findings: Findings) -> TextTable | None:
    """Return differences between optimizers tuned by halves of their trials; None if none."""
    halves = compare_halves(findings)
    if not halves:
        return None
    loss = findings.objective == "loss"
    rows = tuple(
        (row.task, row.recipe, _change(row, loss), f"{100 * row.ahead:.0f} %") for row in halves
    )
    return TextTable(
        f"Luck of the tuning: optimizer and {findings.baseline} each chosen by a random half of "
        f"their first trials, over all halves; difference of the best validation "
        f"{findings.objective} on the tuning seeds, median and central 95 %, and how often the "
        "optimizer is ahead. Where this range holds both signs, other trials "
        "might have turned the verdict",
        ("<task", "<optimizer", "change of loss" if loss else "metric, points", "ahead"),
        rows,
    )


def _change(halves: Halves, loss: bool) -> str:
    spread = Interval(halves.middle, halves.low, halves.high, math.nan, 0)
    return percent(spread) if loss else points(spread.scaled(-1))  # scores are minus the metric
