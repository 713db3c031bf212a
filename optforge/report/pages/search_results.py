"""What the end of a search adds to its page; a page of its own where only the table was kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optforge.assessment.rows import FOUND, ONE_SETTING, STRAIGHT, control_name
from optforge.assessment.table import Table
from optforge.errors import RunError
from optforge.files import read_text
from optforge.report.pages.blocks import (
    Block,
    Code,
    Facts,
    Grid,
    Page,
    Section,
    Step,
    Tree,
    Words,
)
from optforge.report.pages.lineage import difference
from optforge.report.pages.run_data import stored_json
from optforge.report.pages.search_figures import stages
from optforge.report.pages.table_figures import contenders, pareto, single_differences
from optforge.report.search.course import JUDGED, in_order
from optforge.report.search.explanation import stored_explanation_table
from optforge.report.search.page import count_facts, fair_table
from optforge.report.search.table_json import table_from_json
from optforge.report.text_table import TextTable
from optforge.report.words import percent
from optforge.runs.file_names import EXPLANATION, EXPLANATION_PAGE, SIMPLE, TABLE_JSON

_NEEDED = {"verdict", "rule", "table"}


def read_results(path: Path) -> Page:
    """Return the page of a search of which the table was kept, but not the journal.

    Args:
        path: Directory with the table as JSON.

    Raises:
        RunError: If the file is not the table of a search.
    """
    results = stored_json(path / TABLE_JSON)
    if not results.keys() >= _NEEDED:
        raise RunError(f"{path / TABLE_JSON} is not the table of a search")
    sections = (
        Section("summary", "Summary", tuple(_summary(results))),
        Section("table", "Table", tuple(table_blocks(table_from_json(results["table"])))),
        Section("pareto", "Pareto front", tuple(pareto_blocks(results))),
        Section("reasons", "Explanation and derivation", tuple(reason_blocks(results, path))),
        Section("rejections", "Rejections", tuple(_rejections(results))),
    )
    kept = tuple(section for section in sections if section.blocks)
    return Page(f"Search {path.resolve().name}", "finished", kept)


def table_blocks(table: Table) -> Iterator[Block]:
    """Yield the table of a search with its figures, the rule against each other row, and notes."""
    yield contenders(table)
    yield Grid(fair_table(table))
    yield Facts(tuple(_meanings(table)))
    if table.has(FOUND):
        yield Grid(against_rows(table))
    yield single_differences(table)
    yield from map(Words, table.notes)


def _meanings(table: Table) -> Iterator[tuple[str, str]]:
    """Yield the names in a table that are no optimizers, with what they mean."""
    names = [row.name for row in table.rows]
    if table.has(FOUND):
        yield FOUND, "the rule that this search found, tuned like all rows"
    if table.has(STRAIGHT):
        yield STRAIGHT, "the same with its own use of the schedule taken out"
    if control := control_name(table):
        yield control, "a rule of which a search changed nothing but constants"
    if any(name.endswith(ONE_SETTING) for name in names):
        yield ONE_SETTING.strip(", "), "the same setting on all tasks, not one tuned for each"
    yield "proxies", "the tasks that the search trained on: " + ", ".join(table.proxies)
    if table.held_out:
        yield "held out", "never searched on: " + ", ".join(table.held_out)


def against_rows(table: Table) -> TextTable:
    """Return the discovered rule against each other row of its table, as text."""
    tasks = (*table.proxies, *table.held_out)
    rows = [
        (
            row.title,
            percent(table.difference(FOUND, row.name)),
            *(percent(table.difference_on(task, FOUND, row.name)) for task in tasks),
        )
        for row in table.rows
        if row.name != FOUND
    ]
    return TextTable(
        "Change of test loss of the discovered rule, tuned for each task, against each other row, "
        "with 95 % intervals of paired differences.",
        tuple(f"<{head}" for head in ("against", "mean over proxies", *tasks)),
        tuple(rows),
    )


def pareto_blocks(results: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the Pareto front of the finalists.

    Args:
        results: The results of a search, as its table file stores them.
    """
    listed = results.get("pareto", [])
    finalists = [finalist for finalist in listed if finalist["fitness"] is not None]
    if finalists:
        yield pareto(finalists)
        yield Tree(tuple(_finalist(number, finalist) for number, finalist in enumerate(finalists)))
    if len(finalists) < len(listed):
        yield Words(f"Left out, as they failed on fresh seeds: {len(listed) - len(finalists)}.")


def reason_blocks(results: Mapping[str, Any], path: Path) -> Iterator[Block]:
    """Yield the explanation of the gain, and the derivation of the simple rule.

    Args:
        results: The results of a search, as its table file stores them; empty before its end.
        path: Directory of the search, which may hold both as files.
    """
    simple = stored_json(path / SIMPLE[1])
    # What was asked for later, perhaps with more trials, stands in a file of its own.
    explanation = stored_json(path / EXPLANATION) or results.get("explanation")
    if explanation:
        yield Grid(stored_explanation_table(explanation))
    elif (path / EXPLANATION_PAGE).is_file():
        yield Code(read_text(path / EXPLANATION_PAGE))
    if simple:
        yield Words("The rule simplified, step by step:")
        yield Tree(tuple(map(_derived, simple["steps"])))
        yield Code(simple["program"])


def _summary(results: Mapping[str, Any]) -> Iterator[Block]:
    yield Words(results["verdict"], is_strong=True)
    yield Code(results["rule"]["program"])
    yield Words(
        "Of this search the table was kept, but not the journal, so the page shows how it ended "
        "and not its course."
    )


def _rejections(results: Mapping[str, Any]) -> Iterator[Block]:
    counts = results.get("counts")
    if counts:
        rejected = in_order(counts["rejected"].items(), results["table"]["proxies"])
        yield stages([*rejected, (JUDGED, counts["judged"])])
        yield Facts(tuple(count_facts(counts)))


def _finalist(number: int, finalist: Mapping[str, Any]) -> Step:
    low, high = finalist.get("low"), finalist.get("high")
    interval = "" if low is None or high is None else f" [{low:+.4f}, {high:+.4f}]"
    title = f"fitness {finalist['fitness']:+.4f}{interval} on fresh seeds"
    note = (
        f"{finalist['state_bytes']:g} bytes of state, {finalist['live_statements']} statements, "
        f"step {1e3 * finalist['step_seconds']:.1f} ms per million parameters"
    )
    lines = tuple((" ", line) for line in finalist["text"].splitlines())
    return Step(title, note, lines, f"pareto-{number}")


def _derived(step: Mapping[str, Any]) -> Step:
    change = difference(step["before"], step["after"])
    return Step(f"{step['kind']}: {step['why']}", "", change)
