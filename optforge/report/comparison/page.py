"""The report of a comparison: Markdown, JSON and figures in its directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from optforge.comparison import Comparison, Findings
from optforge.comparison.recipes.recipe import ranges_of
from optforge.errors import CompareError
from optforge.files import ForeignFileError, check_own, replace_own
from optforge.report.comparison.figures import TRIALS, draw_figures
from optforge.report.comparison.json_report import distinct, to_json
from optforge.report.comparison.ranges import range_text
from optforge.report.comparison.tables import all_tables

REPORT_JSON, REPORT_MARKDOWN = "report.json", "report.md"
_GIVEN = (
    "Intervals and p are over seeds, given the chosen settings; the luck of the tuning itself is "
    "not in them{}. With other trials another setting would have been chosen, and the change "
    "might be another."
)
_TRIALS_FIGURE = f" ({TRIALS} shows how the best found depends on the number of trials)"


def write_report(
    comparison: Comparison,
    findings: Findings,
    sessions: Sequence[Mapping[str, Any]],
    path: Path,
    figures: bool = True,
) -> None:
    """Write the whole report; each file is replaced atomically.

    Args:
        comparison: The comparison.
        findings: Its results.
        sessions: Machines and versions, from the table of cells.
        path: The directory of the report.
        figures: Whether to draw the figures.
    """
    content = to_json(comparison, findings, sessions)
    _write(path / REPORT_JSON, json.dumps(content, indent=1) + "\n")
    text = to_markdown(comparison, findings, sessions)  # before any figure, which might fail
    _write(path / REPORT_MARKDOWN, text)
    if figures:
        drawn, failed = _draw(findings, path)
        text = to_markdown(comparison, findings, sessions, drawn, failed)
        _write(path / REPORT_MARKDOWN, text)


def _draw(findings: Findings, path: Path) -> tuple[list[str], list[str]]:
    """Draw all figures; return the names of those written, and why others are missing."""
    drawn, failed = [], []
    for name, draw in draw_figures(findings):
        try:
            content = draw()
        except Exception as error:  # days of training are not lost to a line on paper
            with suppress(ForeignFileError):  # one of an earlier state would be untrue
                check_own(path, [name])
                (path / name).unlink(missing_ok=True)
            failed.append(f"{name} was not drawn ({type(error).__name__}: {error})")
            continue
        try:
            _write(path / name, content)
        except ForeignFileError as error:
            failed.append(str(error))
            continue
        drawn.append(name)
    return drawn, failed


def to_markdown(
    comparison: Comparison,
    findings: Findings,
    sessions: Sequence[Mapping[str, Any]],
    figures: Sequence[str] = (),
    failed: Sequence[str] = (),
) -> str:
    """Return the report as one page of Markdown.

    Args:
        comparison: The comparison.
        findings: Its results.
        sessions: Machines and versions.
        figures: Names of the figures in the same directory.
        failed: Sentences about missing figures.
    """
    settings = comparison.settings
    parts = [f"# {comparison.title or 'Comparison of optimizers'}"]
    if comparison.claim:
        parts.append(f"Put to the test: {comparison.claim}")
    parts.append(
        f"{settings.trials} trials for each optimizer and task ({settings.sampler}, tuned: "
        f"{', '.join(settings.tune)}), chosen by validation {settings.objective}, the best "
        f"{settings.finalists} trained again on {settings.again} seeds; {settings.seeds} fresh "
        "seeds for the figures, the same initial weights and batches for all; test data once."
    )
    parts.append(_GIVEN.format(_TRIALS_FIGURE if TRIALS in figures else ""))
    for table in all_tables(findings):
        parts += [f"{table.title}.", table.markdown()]
    parts += [f"![{name}]({name})" for name in figures]
    parts += [f"{sentence}." for sentence in failed]
    parts.append("Ranges at the start: " + "; ".join(_ranges(comparison)) + ".")
    parts.append(f"Fresh seeds: {_seeds(findings)}.")
    parts.append(
        "Made with: " + "; ".join(_session(session) for session in distinct(sessions)) + "."
    )
    return "\n\n".join(parts) + "\n"


def _seeds(findings: Findings) -> str:
    by_task = {result.variant.task.name: result.seeds for result in findings.tasks}
    return "; ".join(f"{name}: {', '.join(map(str, seeds))}" for name, seeds in by_task.items())


def _ranges(comparison: Comparison) -> list[str]:
    return [
        f"{recipe.name}: "
        + ", ".join(f"{name} {range_text(ends)}" for name, ends in ranges_of(recipe).items())
        for recipe in comparison.tuned_recipes
    ]


def _session(session: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in session.items() if value != "")


def _write(path: Path, content: str | bytes) -> None:
    try:
        replace_own(path, content)
    except OSError as error:
        raise CompareError(f"{path} was not written: {error.strerror}") from error
