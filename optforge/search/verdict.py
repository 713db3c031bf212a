"""What a table shows, in words: no claim without an interval that excludes zero."""

from __future__ import annotations

import math
import re
import textwrap

from optforge.search.table import Table
from optforge.statistics import Interval

ADAMW, CONSTANTS, LION, FOUND = "tuned AdamW", "constants only", "tuned Lion", "discovered"
ONE_SETTING = ", one setting"  # for all tasks, as the search has it


def control_name(table: Table) -> str | None:
    """Name the row of which only constants were searched; it may name another rule first."""
    names = [row.name for row in table.rows]
    return next((name for name in names if name.endswith(CONSTANTS)), None)


def verdict(table: Table) -> str:
    """Say in plain words what the table shows.

    A claim needs an interval that excludes zero. It is made for the rule as it is tuned for each
    task, like what it is compared with; what is written as ``best.py`` has one setting for all
    tasks, and is reported beside it.
    """
    names = [row.name for row in table.rows]
    if FOUND not in names:
        tuned = _percent(table.rows[1].proxies)
        return f"Constants alone, searched and tuned for each task, give {tuned}.{_one(table)}"
    row = table.row(FOUND)
    against = {ADAMW: row.proxies}
    control = control_name(table)
    if control is not None:
        against[control] = table.difference(FOUND, control)
    won = [name for name, d in against.items() if d.high < 0]
    lost = [name for name, d in against.items() if d.high >= 0]
    figures = {
        id(some): "; ".join(f"{_percent(against[name])} against {name}" for name in some)
        for some in (won, lost)
    }
    text = ""
    if won:
        text = (
            f"The discovered rule, tuned for each task, beats {' and '.join(won)} on fresh seeds "
            f"and test data ({figures[id(won)]})."
        )
    if lost:
        told = "It does not beat" if won else "Nothing was found that, tuned for each task, beats"
        text += f"{' ' * bool(won)}{told} {' or '.join(lost)} ({figures[id(lost)]})."
    text += _one(table)
    for task in table.held_out:
        text += f" Held out, {task}: {_percent(row.tasks[task])} against {ADAMW}."
    return text


def _one(table: Table) -> str:
    """What the rule in ``best.py`` does, if the table has it."""
    found = shipped(table)
    if found is None:
        return ""
    row = next((row for row in table.rows if row.name == found + ONE_SETTING), None)
    if row is None:
        return ""
    return f" As in best.py, one setting for all tasks: {_percent(row.proxies)} against {ADAMW}."


def shipped(table: Table) -> str | None:
    """Name the row whose rule the run ends with: the discovered one, or the constants."""
    names = [row.name for row in table.rows]
    return next((name for name in (FOUND, CONSTANTS) if name in names), None)


def rules_by_task(table: Table) -> dict[str, str]:
    """Give files with the rule as it was measured on each task, by their names.

    Returns:
        For each task of the table ``best_TASK.py``, with a header that says how it was tuned
        and what it does there.
    """
    name = shipped(table)
    if name is None:
        return {}
    row, files = table.row(name), {}
    for task, text in row.programs.items():
        how = (
            f"with the best of several learning rates for {task}, chosen on its validation data"
            if task in table.held_out
            else f"tuned for {task}: learning rate, decay and averages, on its validation data "
            f"({row.trials})"
        )
        told = (
            f"The rule of best.py {how}. On fresh seeds and its test data: "
            f"{_percent(row.tasks[task])} against {ADAMW}."
        )
        files["best_" + re.sub(r"[^\w.-]", "_", task) + ".py"] = commented(told, text)
    return files


def commented(told: str, text: str) -> str:
    """Put words over a program."""
    return "".join(f"# {line}\n" for line in textwrap.wrap(told, 96)) + text


def _percent(value: Interval) -> str:
    """A log ratio as a change of the loss in percent, with its interval."""
    mean, low, high = (100 * math.expm1(v) for v in (value.mean, value.low, value.high))
    return f"{mean:+.1f} % loss [{low:+.1f}, {high:+.1f}]"
