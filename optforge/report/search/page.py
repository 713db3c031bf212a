"""The page of a finished search: verdict, fair table, program, Pareto list, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from optforge.assessment.finish import Finish
from optforge.assessment.table import Table
from optforge.report.search.explanation import explanation_markdown
from optforge.report.search.verdict import schedule_words, verdict
from optforge.report.text_table import TextTable
from optforge.report.words import log_difference


def search_markdown(finish: Finish) -> str:
    """Return a search's results as one page of Markdown."""
    fair, pareto = fair_table(finish.table), pareto_table(finish)
    program = finish.rule.program.text.rstrip()
    parts = [verdict(finish.table), fair.title, fair.markdown()]
    parts += [_bullets(finish.table.notes)] if finish.table.notes else []
    parts += [f"```python\n{program}\n```", schedule_words(finish.rule)]
    parts += [explanation_markdown(finish.explanation).rstrip()] if finish.explanation else []
    parts += [pareto.title, pareto.markdown()]
    parts += ["What the search did:", _bullets(count_lines(finish.counts))] if finish.counts else []
    return "\n\n".join(parts) + "\n"


def search_html(finish: Finish) -> str:
    """Return verdict, rule and table as HTML for a notebook, all text escaped."""
    program = finish.rule.program.text.rstrip()
    return (
        f"<p><b>{escape(verdict(finish.table))}</b></p><pre>{escape(program)}</pre>"
        f"{fair_table(finish.table).html()}"
    )


def fair_table(table: Table) -> TextTable:
    """Return the table of contenders as text."""
    tasks = [*table.proxies, *table.held_out]
    heads = ["optimizer", "mean over proxies", *table.proxies]
    heads += [f"{task} (held out)" for task in table.held_out]
    heads += ["state bytes / parameter", "step, ms / 1M", "tuned by"]
    rows = [
        (
            row.title,
            *map(log_difference, (row.proxies, *(row.tasks[task] for task in tasks))),
            *(f"{row.state_bytes:g}", milliseconds(row.step_seconds), row.trials),
        )
        for row in table.rows
    ]
    return TextTable(
        f"Log ratio of test loss to {table.rows[0].title}, lower is better: mean and Student-t "
        f"95 % interval of paired differences over {table.repeats} fresh seeds a task.",
        tuple(f"<{head}" for head in heads),
        tuple(rows),
    )


def pareto_table(finish: Finish) -> TextTable:
    """Return the finalists that no other finalist dominates as text."""
    rows = [
        (
            f"{finalist.fitness:+.4f} [{finalist.low:+.4f}, {finalist.high:+.4f}]",
            f"{finalist.search_fitness:+.4f}",
            f"{finalist.state_bytes:g}",
            str(finalist.live_statements),
            milliseconds(finalist.step_seconds),
        )
        for finalist in finish.pareto
    ]
    return TextTable(
        "Pareto list: fitness on fresh validation seeds, with 95 % intervals, and when chosen:",
        ("<fitness", "<when chosen", "<state bytes", "<statements", "<step, ms / 1M"),
        tuple(rows),
    )


def milliseconds(seconds: float) -> str:
    """Return the time of a step in milliseconds, without the unit."""
    return f"{1e3 * seconds:.1f}"


def count_lines(counts: Mapping[str, Any]) -> list[str]:
    """Return the counts of a search as lines of text.

    Args:
        counts: As :meth:`optforge.evolution.history.Tally.plain` returns them.
    """
    known = _share_known(counts)
    rejected = ", ".join(f"{count:,} at {stage}" for stage, count in counts["rejected"].items())
    return [
        f"{counts['programs']:,} programs, {counts['new']:,} of them new "
        f"({known:.0f} % known already), {counts['judged']:,} judged in full",
        f"rejected: {rejected or 'none'}; of {counts['audited']} that were trained on all the "
        f"same, {counts['wrongly_rejected']} would have been among the best",
        *_overfitting(counts),
        f"fingerprints: {counts['same_fingerprint_other_numbers']} equal with other numbers, "
        f"{counts['same_numbers_other_fingerprint']:,} different with equal numbers",
    ]


def count_facts(counts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the counts of a search say of its rejections, as names with sentences.

    Args:
        counts: As for :func:`count_lines`; empty before the end of a search.
    """
    if not counts:
        return
    yield "programs", f"{counts['programs']:,}, {_share_known(counts):.0f} % known already"
    yield (
        "audit",
        f"{counts['wrongly_rejected']} of {counts['audited']} rejected programs that were trained "
        "to the end all the same would have been among the best",
    )
    yield from (("meta-overfitting", line.partition(": ")[2]) for line in _overfitting(counts))
    yield (
        "fingerprints",
        f"{counts['same_fingerprint_other_numbers']} programs were taken for equal to an earlier "
        f"one and were not; {counts['same_numbers_other_fingerprint']:,} were trained although an "
        "earlier one gives the same numbers",
    )


def _share_known(counts: Mapping[str, Any]) -> float:
    return 100 * (1 - counts["new"] / max(1, counts["programs"]))


def _overfitting(counts: Mapping[str, Any]) -> list[str]:
    times = counts.get("meta_overfitted", 0)
    if not times:
        return []
    return [
        f"meta-overfitting: {times} time{'s' if times > 1 else ''} the leaders went on gaining on "
        "the proxies while they lost on larger tasks"
    ]


def _bullets(lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)
