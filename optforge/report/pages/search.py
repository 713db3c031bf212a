"""The page of a search; also while the search is writing its journal."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence

from optforge.evolution.settings import Settings
from optforge.report.pages import search_figures as figures
from optforge.report.pages.blocks import Block, Code, Facts, Grid, Page, Section, Tree, Words
from optforge.report.pages.front import front_figure, front_steps
from optforge.report.pages.lineage import lineage_steps
from optforge.report.pages.repeat import own_tasks, search_command, settings_table
from optforge.report.pages.run_data import Run
from optforge.report.pages.search_results import pareto_blocks, reason_blocks, table_blocks
from optforge.report.search.course import JUDGED, Course, stage_rows
from optforge.report.search.page import count_facts
from optforge.report.text_table import TextTable
from optforge.report.words import duration, percent
from optforge.statistics import Interval

_LONG = ("start", "suggestions")  # settings that hold whole programs
_STEPS = 100  # forward that are shown, so that the page stays small


def search_page(run: Run) -> Page:
    """Return the page of a search.

    Args:
        run: The run.
    """
    reasons = tuple(reason_blocks(run.results, run.summary.path))
    sections = [
        Section("summary", "Summary", tuple(_summary(run))),
        Section("progress", "Progress", tuple(_progress(run))),
        Section("table", "Table", tuple(table_blocks(run.table)) if run.table else ()),
        Section("descent", "Line of descent", tuple(_descent(run))),
        Section("pareto", "Pareto front", tuple(_pareto(run))),
        Section("reasons", "Explanation and derivation", reasons),
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
    judged, programs = course.stages[JUDGED], len(course.cached)
    rate = f", {course.seconds / judged:.1f} s of training for each" if judged else ""
    yield Facts(
        (
            ("state", summary.status),
            ("begun", summary.created.replace("T", " ").replace("+00:00", " UTC")),
            ("elapsed", f"{duration(run.elapsed)} to the last write, pauses included"),
            *_left(run),
            *_noise(course),
            ("programs", f"{programs:,}{_pace(run, len)}"),
            ("new verdicts", f"{len(course.fitness):,}{_pace(run, _new)}"),
            ("judged in full", f"{judged:,}{rate}"),
            ("training", f"{duration(course.seconds)} over all workers"),
            ("known already", f"{_known(course):.0f} %"),
        )
    )


def _left(run: Run) -> Iterator[tuple[str, str]]:
    if run.summary.status == "running" and run.left is not None:
        finishing = "none for the search; its best programs are being measured for the table"
        yield "left", f"about {duration(run.left)}, then the table" if run.left else finishing
    elif run.summary.status == "running":
        yield "left", "not known yet, or nothing but Ctrl-C ends it"


def _noise(course: Course) -> Iterator[tuple[str, str]]:
    best = course.best_leader
    if best is not None and math.isfinite(best.half):
        yield (
            "noise floor",
            f"± {best.half:.4f} of fitness: half the 95 % interval of the best program on fresh "
            "seeds; a difference between leaders that is smaller may be luck",
        )


def _pace(run: Run, count: Callable[[Sequence[bool]], int]) -> str:
    """Return how many programs of the last session a second were counted while it searched."""
    if not run.session_seconds:
        return ""
    cached = run.course.cached[run.session_start :]
    return f", {count(cached) / run.session_seconds:.1f} a second"


def _new(cached: Sequence[bool]) -> int:
    return len(cached) - sum(cached)


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
    shown = f" The last {_STEPS} of {len(rows):,}." if len(rows) > _STEPS else ""
    return TextTable(
        "Steps forward: leaders that were better on fresh seeds than all before them. The step is "
        "taken as unpaired, which makes its interval too wide rather than too narrow." + shown,
        ("program", "in the search", "on fresh seeds, 95 %", "step, 95 %", "<certain"),
        tuple(rows[-_STEPS:]),
    )


def _descent(run: Run) -> Iterator[Block]:
    if not run.line:
        return
    who = "winner" if run.results else "present leader"
    yield Words(
        f"From the start to the {who}, step by step: {len(run.line)} programs. A line is a "
        "program's number, how it came about, and its gain. Open it to see what it changed "
        "(+ added, - removed). After insert, delete and modify stands the place of the statement, "
        "counted from 0; rescaled is the factor of the learning rate with which the update is as "
        "long as the parent's. Gains are paired by task and seed; fitness and gain are on the "
        "seeds of the search, so those of a leader are partly luck."
    )
    yield Tree(lineage_steps(run.line))


def _pareto(run: Run) -> Iterator[Block]:
    if run.front:
        yield front_figure(run.front)
        yield Tree(front_steps(run.front))
    yield from pareto_blocks(run.results)


def _rejections(run: Run) -> Iterator[Block]:
    if run.course.cached:
        tasks = run.settings.get("search", {}).get("tasks", ())
        yield figures.stages(stage_rows(run.course, tasks))
        yield figures.known(run.course)
    restarts = sum(parent is None for parent in run.course.parents[1:])
    phases = ", ".join(f"{name} from program {start:,}" for name, start, *_ in run.course.phases)
    yield Facts(
        (
            ("phases", phases or "none"),
            ("new starts", f"{restarts}"),
            *count_facts(run.results.get("counts", {})),
        )
    )


def _settings(run: Run) -> Iterator[Block]:
    yield Words("The command that repeats this search, up to the same program:")
    yield Code(shlex.join(search_command(run.settings, run.summary.path, len(run.course.cached))))
    if unshipped := own_tasks(run.settings):
        yield Words(
            f"Not shipped: {', '.join(unshipped)}. The journal keeps only the name of such a task: "
            "give it as file.py:Class where the command has its name. AdamW is tuned on it anew."
        )
    search = run.settings.get("search", {})
    shown = {name: value for name, value in search.items() if name not in _LONG}
    yield Grid(settings_table(shown, Settings))
    yield Facts(tuple((k, str(v)) for k, v in run.settings.get("versions", {}).items()))
