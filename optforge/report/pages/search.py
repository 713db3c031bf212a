"""The page of a search; also while the search is writing its journal."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from optforge.files import read_text
from optforge.report.json_values import stored_interval
from optforge.report.pages import search_figures as figures
from optforge.report.pages.blocks import Block, Code, Facts, Grid, Page, Section, Step, Tree, Words
from optforge.report.pages.lineage import difference, lineage_steps
from optforge.report.pages.repeat import search_command
from optforge.report.pages.run_data import Run, stored_json
from optforge.report.search.course import JUDGED, Course
from optforge.report.search.page import count_lines, fair_table
from optforge.report.text_table import TextTable
from optforge.report.words import duration, percent
from optforge.runs.directory import EXPLANATION_PAGE, SIMPLE
from optforge.statistics import Interval


def search_page(run: Run) -> Page:
    """Return the page of a search.

    Args:
        run: The run.
    """
    sections = [
        Section("summary", "Summary", tuple(_summary(run))),
        Section("progress", "Progress", tuple(_progress(run))),
        Section("table", "Table", tuple(_table(run))),
        Section("descent", "Line of descent", tuple(_descent(run))),
        Section("pareto", "Pareto front", tuple(_pareto(run))),
        Section("reasons", "Explanation and derivation", tuple(_reasons(run))),
        Section("rejections", "Rejections", tuple(_rejections(run))),
        Section("settings", "Settings", tuple(_settings(run))),
    ]
    kept = tuple(section for section in sections if section.blocks)
    return Page(f"Search {run.summary.path.resolve().name}", run.summary.status, kept)


def _summary(run: Run) -> Iterator[Block]:
    if run.results:
        yield Words(run.results["verdict"], is_strong=True)
        yield Code(run.results["rule"]["program"])
    else:
        yield Words("The search has no table yet: nothing here is confirmed on test data.", True)
    course, summary = run.course, run.summary
    judged = course.stages[JUDGED]
    pace = f", {len(course.cached) / run.elapsed:.1f} a second" if run.elapsed else ""
    rate = f", {course.seconds / judged:.1f} s of training for each" if judged else ""
    yield Facts(
        (
            ("state", summary.status),
            ("begun", summary.created.replace("T", " ")),
            ("begin to last write", f"{duration(run.elapsed)}, pauses included"),
            ("programs", f"{len(course.cached):,}{pace}"),
            ("judged in full", f"{judged:,}{rate}"),
            ("training", f"{duration(course.seconds)} over all workers"),
            ("known already", f"{_known(course):.0f} %"),
        )
    )


def _known(course: Course) -> float:
    return 100 * sum(course.cached) / max(1, len(course.cached))


def _progress(run: Run) -> Iterator[Block]:
    if not run.course.cached:
        yield Words("No batch has been committed yet.")
        return
    yield figures.progress(run.course)
    if run.course.rescored:
        yield Grid(steps_forward(run.course))


def steps_forward(course: Course) -> TextTable:
    """Return the leaders on fresh seeds that were better than all before, and how surely.

    Args:
        course: Course of a search.
    """
    rows, best = [], None
    for leader in course.rescored:
        if not math.isfinite(leader.fresh) or (best and leader.fresh >= best.fresh):
            continue
        step, sure = "", ""
        if best is not None:
            change, half = leader.fresh - best.fresh, math.hypot(leader.half, best.half)
            step = percent(Interval(change, change - half, change + half, math.nan, 0))
            sure = "yes" if change + half < 0 else "within the noise"
        value = f"{leader.fresh:+.4f} ± {leader.half:.4f}"
        rows.append((f"{leader.number:,}", f"{leader.fitness:+.4f}", value, step, sure))
        best = leader
    return TextTable(
        "Steps forward: leaders that were better on fresh seeds than all before them. The step is "
        "taken as unpaired, which makes its interval too wide rather than too narrow.",
        ("program", "in the search", "on fresh seeds, 95 %", "step, 95 %", "<certain"),
        tuple(rows),
    )


def _table(run: Run) -> Iterator[Block]:
    if run.table is not None:
        yield figures.contenders(run.table)
        yield Grid(fair_table(run.table))
        yield from map(Words, run.table.notes)


def _descent(run: Run) -> Iterator[Block]:
    if not run.line:
        return
    who = "winner" if run.results else "present leader"
    yield Words(
        f"From the start to the {who}, step by step: {len(run.line)} programs. Open a step to see "
        "what it changed (+ added, - removed). Gains are paired by task and seed; the seeds are "
        "those of the search, so a leader's gain is partly luck."
    )
    yield Tree(lineage_steps(run.line))


def _pareto(run: Run) -> Iterator[Block]:
    finalists = run.results.get("pareto", [])
    if not finalists:
        return
    yield figures.pareto(finalists)
    yield Tree(tuple(_finalist(number, finalist) for number, finalist in enumerate(finalists)))


def _finalist(number: int, finalist: Mapping[str, Any]) -> Step:
    value = finalist["fitness"]
    title = "failed on fresh seeds" if value is None else f"fitness {value:+.4f}"
    note = (
        f"{finalist['state_bytes']:g} bytes of state, {finalist['live_statements']} statements, "
        f"step {1e3 * finalist['step_seconds']:.1f} ms per million parameters"
    )
    lines = tuple((" ", line) for line in finalist["text"].splitlines())
    return Step(title, note, lines, f"pareto-{number}")


def _reasons(run: Run) -> Iterator[Block]:
    explanation = run.results.get("explanation")
    if explanation:
        yield Grid(explanation_rows(explanation))
    elif (run.summary.path / EXPLANATION_PAGE).is_file():
        yield Code(read_text(run.summary.path / EXPLANATION_PAGE))
    simple = stored_json(run.summary.path / SIMPLE[1])
    if simple:
        yield Words("The rule simplified, step by step:")
        yield Tree(
            tuple(
                Step(
                    f"{step['kind']}: {step['why']}", "", difference(step["before"], step["after"])
                )
                for step in simple["steps"]
            )
        )
        yield Code(simple["program"])


def explanation_rows(explanation: Mapping[str, Any]) -> TextTable:
    """Return an explanation, as the table file of a run stores it, as text."""
    rows = [
        (
            row["tuned"],
            percent(stored_interval(row["gain_over_rate_alone"])),
            percent(stored_interval(row["left_of_the_rule"])),
        )
        for row in explanation["rows"]
    ]
    return TextTable(
        "What single things explain that anybody may tune: AdamW with the rate and one more thing "
        f"tuned by {explanation['trials']} trials a task, {explanation['repeats']} fresh seeds.",
        ("<AdamW with its rate and ... tuned", "<gain over the rate alone", "<left of the rule's"),
        tuple(rows),
    )


def _rejections(run: Run) -> Iterator[Block]:
    if run.course.cached:
        yield figures.stages(run.course)
        yield figures.known(run.course)
    restarts = sum(parent is None for parent in run.course.parents[1:])
    phases = ", ".join(f"{name} from program {start:,}" for name, start, *_ in run.course.phases)
    yield Facts((("phases", phases or "none"), ("new starts", f"{restarts}")))
    if run.results.get("counts"):
        yield from map(Words, count_lines(run.results["counts"]))


def _settings(run: Run) -> Iterator[Block]:
    yield Words("The command that repeats this search, up to the same program:")
    yield Code(shlex.join(search_command(run.settings, run.summary.path, len(run.course.cached))))
    search = run.settings.get("search", {})
    shown = [
        (name, value) for name, value in search.items() if name not in ("start", "suggestions")
    ]
    yield Facts(tuple((name, _plain(value)) for name, value in shown))
    yield Facts(tuple((k, str(v)) for k, v in run.settings.get("versions", {}).items()))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
