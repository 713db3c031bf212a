"""What a table shows, in words: no claim without an interval that excludes zero."""

from __future__ import annotations

import math
import textwrap

from optforge.assessment.table import Table, titled
from optforge.runs.directory import best_of
from optforge.statistics import Interval
from optforge.training import Trainee
from optforge.tuning import OPTIMIZERS, TITLES

NAMES = {optimizer: f"tuned {title}" for optimizer, title in TITLES.items()}
ADAMW, LION, MUON = (NAMES[optimizer] for optimizer in OPTIMIZERS)
CONSTANTS, FOUND = "constants only", "discovered"
STRAIGHT = "discovered, schedule straightened"
ONE_SETTING = ", one setting"  # for all tasks


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
    if not table.has(FOUND):
        tuned = percent(table.rows[1].proxies)
        text = f"Constants alone, searched and tuned for each task, give {tuned}.{_one(table)}"
        return titled(text, table.rows[0].is_light)
    row = table.row(FOUND)
    partners = [ADAMW, control_name(table), MUON]
    against = {
        name: table.difference(FOUND, name)
        for name in partners
        if name is not None and table.has(name)
    }
    won = [name for name, d in against.items() if d.high < 0]
    lost = [name for name, d in against.items() if d.high >= 0]
    figures = {
        id(some): "; ".join(f"{percent(against[name])} against {name}" for name in some)
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
        text += f" Held out, {task}: {percent(row.tasks[task])} against {ADAMW}."
    return titled(text, table.rows[0].is_light)


def _one(table: Table) -> str:
    """What the rule in ``best.py`` does, if the table has it."""
    found = shipped(table)
    if found is None:
        return ""
    name = found + ONE_SETTING
    if not table.has(name):
        return ""
    partners = [own + ONE_SETTING for own in (ADAMW, MUON) if table.has(own + ONE_SETTING)]
    if not partners:
        return f" As in best.py, one setting for all tasks: {percent(table.row(name).proxies)}."
    told = "; ".join(
        f"{percent(table.difference(name, partner))} against {partner}" for partner in partners
    )
    return f" As in best.py, with one setting for all tasks: {told}."


def shipped(table: Table) -> str | None:
    """Name the row whose rule the run ends with: the discovered one, or the constants."""
    return next((name for name in (FOUND, CONSTANTS) if table.has(name)), None)


def best_rule(table: Table) -> Trainee | None:
    """Return the rule that a run ends with, and its schedule: one setting for all tasks."""
    name = shipped(table)
    if name is None or not table.has(name + ONE_SETTING):
        return None
    return table.row(name + ONE_SETTING).trainees[table.proxies[0]]


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
    for task, trainee in row.trainees.items():
        told = (
            f"The rule of best.py tuned for {task}: learning rate, decay, averages and schedule, "
            f"on its validation data ({row.trials}). On fresh seeds and its test data: "
            f"{percent(row.tasks[task])} against {ADAMW}. {schedule_words(trainee)}"
        )
        name = best_of(task)
        files[name] = commented(told, trainee.program.text)
    return files


def schedule_words(trainee: Trainee) -> str:
    """Describe the schedule that a rule was tuned with, for who wants to train with it."""
    shape = trainee.schedule
    if shape is None:
        return "Schedule: that of the task."
    return (
        f"Schedule: warm-up over {100 * shape.warmup:.2g} % of the steps, then the half cosine to "
        f"the power {shape.power:.3g}, ending at {shape.final:.3g} of the peak."
    )


def commented(told: str, text: str) -> str:
    """Put words over a program."""
    return "".join(f"# {line}\n" for line in textwrap.wrap(told, 96)) + text


def percent(value: Interval) -> str:
    """A log ratio as a change of the loss in percent, with its interval."""
    mean, low, high = (100 * math.expm1(v) for v in (value.mean, value.low, value.high))
    return f"{mean:+.1f} % loss [{low:+.1f}, {high:+.1f}]"
