"""The verdict on a table in words: no claim without an interval that excludes zero."""

from __future__ import annotations

from collections.abc import Mapping

from optforge.assessment.rows import ADAMW, FOUND, MUON, ONE_SETTING, control_name, shipped
from optforge.assessment.table import Table, titled
from optforge.report.words import loss_change
from optforge.statistics import Interval
from optforge.training import Trainee


def verdict(table: Table) -> str:
    """Return the conclusion from a table in a sentence or two.

    A claim needs an interval that excludes zero. It is made for the rule tuned for each task, like
    the rows it is compared with. The rule in ``best.py`` has one setting for all tasks and is
    reported separately.

    Args:
        table: Table of a finished search.
    """
    if not table.has(FOUND):
        tuned = loss_change(table.rows[1].proxies)
        text = (
            f"Constants alone, searched and tuned for each task, give {tuned}."
            f"{_with_one_setting(table)}"
        )
        return titled(text, table.rows[0].is_light)
    held_out = (
        f" Held out, {task}: {loss_change(table.row(FOUND).tasks[task])} against {ADAMW}."
        for task in table.held_out
    )
    text = f"{_claims(table)}{_with_one_setting(table)}{''.join(held_out)}"
    return titled(text, table.rows[0].is_light)


def _claims(table: Table) -> str:
    partners = (ADAMW, control_name(table), MUON)
    present = [name for name in partners if name is not None and table.has(name)]
    against = {name: table.difference(FOUND, name) for name in present}
    won = {name: interval for name, interval in against.items() if interval.high < 0}
    lost = {name: interval for name, interval in against.items() if interval.high >= 0}
    sentences = []
    if won:
        sentences.append(
            f"The discovered rule, tuned for each task, beats {' and '.join(won)} on fresh seeds "
            f"and test data ({_figures(won)})."
        )
    if lost:
        begin = "It does not beat" if won else "Nothing was found that, tuned for each task, beats"
        sentences.append(f"{begin} {' or '.join(lost)} ({_figures(lost)}).")
    return " ".join(sentences)


def _with_one_setting(table: Table) -> str:
    """Return a sentence on the rule in ``best.py``, if the table has it."""
    name = f"{shipped(table)}{ONE_SETTING}"
    if not table.has(name):
        return ""
    partners = [other + ONE_SETTING for other in (ADAMW, MUON) if table.has(other + ONE_SETTING)]
    if not partners:
        return f" As in best.py, one setting for all tasks: {loss_change(table.row(name).proxies)}."
    figures = _figures({partner: table.difference(name, partner) for partner in partners})
    return f" As in best.py, with one setting for all tasks: {figures}."


def _figures(against: Mapping[str, Interval]) -> str:
    return "; ".join(f"{loss_change(value)} against {name}" for name, value in against.items())


def schedule_words(trainee: Trainee) -> str:
    """Return a sentence on the schedule that a rule was tuned with and should be trained with."""
    shape = trainee.schedule
    if shape is None:
        return "Schedule: that of the task."
    return (
        f"Schedule: warm-up over {100 * shape.warmup:.2g} % of the steps, then the half cosine to "
        f"the power {shape.power:.3g}, ending at {shape.final:.3g} of the peak."
    )
