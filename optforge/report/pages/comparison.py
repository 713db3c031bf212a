"""The page of a comparison, from its directory; also of the tasks that are complete so far."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optforge.comparison import CELLS, CellTable, Comparison, Findings, compare_pairs
from optforge.comparison.definition import stored_definition
from optforge.comparison.finished import finished
from optforge.comparison.settings import ComparisonSettings
from optforge.comparison.suite import comparison_from
from optforge.report.comparison.json_report import distinct
from optforge.report.comparison.tables import all_tables
from optforge.report.pages.blocks import Block, Code, Facts, Grid, Page, Section, Words
from optforge.report.pages.comparison_figures import comparison_figures
from optforge.report.pages.repeat import settings_table


def read_comparison(path: Path) -> Page:
    """Return the page of the comparison in a directory; nothing is trained.

    Raises:
        CompareError: If its definition or its table of cells cannot be read.
    """
    comparison = comparison_from(stored_definition(path))
    with CellTable(path / CELLS, write=False) as table:
        findings, sessions = finished(comparison, table).findings, table.sessions
        return comparison_page(comparison, findings, sessions, path)


def comparison_page(
    comparison: Comparison,
    findings: Findings,
    sessions: Sequence[Mapping[str, Any]],
    path: Path,
) -> Page:
    """Return the page of a comparison.

    Args:
        comparison: The comparison.
        findings: Results of its complete tasks.
        sessions: Machines and versions.
        path: Its directory.
    """
    done, planned = len(findings.tasks), len(comparison.variants)
    state = "finished" if done == planned else f"{done} of {planned} tasks complete"
    figures = tuple(comparison_figures(findings))
    tables = tuple(Grid(table) for table in all_tables(findings)) if findings.tasks else ()
    sections = (
        Section("summary", "Summary", tuple(_summary(comparison, findings, state))),
        Section("figures", "Figures", figures),
        Section("tables", "Tables", tables[1:]),
        Section("settings", "Settings", tuple(_settings(comparison, sessions, path))),
    )
    title = comparison.title or f"Comparison {path.resolve().name}"
    return Page(title, state, tuple(section for section in sections if section.blocks))


def _summary(comparison: Comparison, findings: Findings, state: str) -> Iterator[Block]:
    if comparison.claim:
        yield Words(f"Put to the test (a claim, not a finding): {comparison.claim}")
    if not findings.tasks:
        yield Words("No task is complete yet, so there is nothing to compare.", is_strong=True)
        return
    yield Words(_outcome(findings), is_strong=True)
    yield Grid(next(all_tables(findings)))
    yield Words(
        f"State: {state}. All optimizers had as many trials, the same initial weights and the same "
        "batches. Intervals are over fresh seeds, given the chosen settings. Whether other trials "
        "might have chosen otherwise is seen from the luck of the tuning below. Steps to target: "
        "those of the optimizer over the baseline's, if all runs of both arrive there; else how "
        "many of its runs and of the baseline's do."
    )


def _outcome(findings: Findings) -> str:
    """Return which optimizers are better or worse than the baseline, and where that is open."""
    verdicts: dict[str, list[str]] = {}
    several = len(findings.tasks) > 1
    for pair in compare_pairs(findings):
        name = f"{pair.recipe} on {pair.task}" if several else pair.recipe
        verdicts.setdefault(pair.verdict, []).append(name)
    parts = (f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items())
    return f"Test loss against tuned {findings.baseline}: {'; '.join(parts)}."


def _settings(
    comparison: Comparison, sessions: Sequence[Mapping[str, Any]], path: Path
) -> Iterator[Block]:
    yield Words("The command that continues this comparison, or reads it again:")
    yield Code(shlex.join(["optforge", "compare", "--resume", "--out", str(path)]))
    yield Grid(settings_table(comparison.settings.stored(), ComparisonSettings))
    yield Words("Machine and versions, once for each change of them:")
    for session in distinct(sessions):
        yield Facts(tuple((str(k), str(v)) for k, v in session.items() if v != ""))
