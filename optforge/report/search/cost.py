"""The table of what a search would cost."""

from __future__ import annotations

import math

from optforge.assessment.cost import SearchCost
from optforge.report.text_table import TextTable
from optforge.report.words import duration


def cost_table(cost: SearchCost) -> TextTable:
    """Return the tasks of a search and what one training of each costs."""
    rows = [
        (
            task.name,
            "search" if task.judging else "held out",
            f"{task.parameters:,}",
            f"{task.examples:,}",
            f"{task.steps:,}",
            duration(task.seconds),
            f"{task.before:,}",
            f"{task.after:,}",
        )
        for task in cost.tasks
    ]
    return TextTable(
        f"One training each, measured on {cost.device}, beside others in the same process",
        ("<task", "<used for", "parameters", "examples", "steps", "one training", "trainings "
         "before", "after, about"),
        tuple(rows),
    )  # fmt: skip


def cost_sentences(cost: SearchCost) -> list[str]:
    """Return what takes how long, and the whole; figures are estimates, right within a factor of 2.

    Example:
        >>> cost_sentences(SearchCost((), 2, "cpu", 6.0, None))[-1]
        'All together about 6 min on 2 processes'
    """
    lines = []
    if cost.before:
        lines.append(f"Before: AdamW is tuned on tasks of your own, about {duration(cost.before)}")
    if math.isinf(cost.searching):
        lines.append("The search has no limit; give --minutes or --programs")
    else:
        lines.append(
            f"The search takes about {duration(cost.searching)}; a program that is judged in full "
            f"takes {duration(cost.verdict)} of one process, most are rejected earlier"
        )
    lines.append(
        f"After: selection, tuning of all rows and the table, about {duration(cost.after)}"
    )
    workers = f"{cost.workers} process" + ("es" if cost.workers > 1 else "")
    if math.isfinite(cost.total):
        lines.append(f"All together about {duration(cost.total)} on {workers}")
    return lines
