"""The files of a finished search: rules with their headers, the table as JSON and Markdown."""

from __future__ import annotations

import textwrap
from typing import Any

from optforge.assessment.finish import Finish
from optforge.assessment.rows import ADAMW, FOUND, shipped
from optforge.assessment.table import Table
from optforge.report.json_values import json_text, plain
from optforge.report.search.explanation import explanation_json
from optforge.report.search.page import search_markdown
from optforge.report.search.table_json import table_json
from optforge.report.search.verdict import schedule_words, verdict
from optforge.report.words import loss_change
from optforge.runs.file_names import BEST, TABLE_JSON, TABLE_MARKDOWN, best_of
from optforge.tuning import trainee_json


def search_files(finish: Finish) -> dict[str, str]:
    """Return the texts of all files of a finished search, by file name."""
    return {
        BEST: _best_rule(finish),
        **rules_by_task(finish.table),
        TABLE_JSON: json_text(search_json(finish)),
        TABLE_MARKDOWN: search_markdown(finish),
    }


def search_json(finish: Finish) -> dict[str, Any]:
    """Return a search's results as JSON-serializable values; numbers not finite become None."""
    explanation = finish.explanation
    return plain(
        {
            "verdict": verdict(finish.table),
            "rule": trainee_json(finish.rule),
            "program": finish.best.text,
            "table": table_json(finish.table),
            "against": _against(finish.table),
            "explanation": None if explanation is None else explanation_json(explanation),
            "counts": finish.counts,
            "finalists": finish.finalists,
            "pareto": finish.pareto,
        }
    )


def _against(table: Table) -> dict[str, Any]:
    """Return the discovered rule against each other row, as a mean over the proxy tasks."""
    others = [row.name for row in table.rows if row.name != FOUND]
    return {name: table.difference(FOUND, name) for name in others} if table.has(FOUND) else {}


def rules_by_task(table: Table) -> dict[str, str]:
    """Return the rule as measured on each task, as files by name.

    Returns:
        ``best_TASK.py`` for each task of the table, with a header that says how it was tuned and
        how it performs there.
    """
    name = shipped(table)
    if name is None:
        return {}
    row, files = table.row(name), {}
    for task, trainee in row.trainees.items():
        header = (
            f"The rule of best.py tuned for {task}: learning rate, decay, averages and schedule, "
            f"on its validation data ({row.trials}). On fresh seeds and its test data: "
            f"{loss_change(row.tasks[task])} against {ADAMW}. {schedule_words(trainee)}"
        )
        files[best_of(task)] = commented(header, trainee.program.text)
    return files


def _best_rule(finish: Finish) -> str:
    tuned = ", ".join(rules_by_task(finish.table))
    more = f" Here it has one setting for all tasks; tuned for each: {tuned}." if tuned else ""
    header = f"{verdict(finish.table)}{more} {schedule_words(finish.rule)}"
    return commented(header, finish.rule.program.text)


def commented(header: str, program: str) -> str:
    """Return the text of a program below a sentence in a comment.

    Example:
        >>> commented("The rule.", "def train(w, g, lr):\\n    return g\\n").splitlines()[0]
        '# The rule.'
    """
    return "".join(f"# {line}\n" for line in textwrap.wrap(header, 96)) + program
