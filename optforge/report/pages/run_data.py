"""What the page of a search shows, read from the directory of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optforge.analysis import fingerprint
from optforge.assessment.table import Table
from optforge.errors import OptforgeError, RunError
from optforge.files import read_text
from optforge.language import parse
from optforge.report.pages.front import FrontProgram, read_front
from optforge.report.pages.lineage import Ancestor, ancestors
from optforge.report.search.course import Course, read_course
from optforge.report.search.table_json import table_from_json
from optforge.runs import Journal, RunSummary, Session
from optforge.runs.directory import run_summary
from optforge.runs.file_names import JOURNAL, TABLE_JSON


@dataclass(frozen=True)
class Run:
    """What the page of a search shows.

    Args:
        summary: Path, state and counts of the run.
        settings: Its settings.
        course: Its course.
        line: Line of descent of the winner, or of the present leader.
        results: The table file of a finished run; empty before.
        table: The table; None before the end.
        front: The Pareto front of the judged programs; empty once there is a table.
        elapsed: Seconds from the begin to the last write, pauses included.
        left: Estimated seconds that the search had left at the last write; None if nothing ends it,
            nothing runs, or no rate is known yet.
        session_start: Number of programs with which the latest session began.
        session_seconds: Seconds that it has proposed programs; None if that is not known.
    """

    summary: RunSummary
    settings: Mapping[str, Any]
    course: Course
    line: tuple[Ancestor, ...]
    results: Mapping[str, Any]
    table: Table | None
    front: tuple[FrontProgram, ...]
    elapsed: float
    left: float | None
    session_start: int = 0
    session_seconds: float | None = None


def read_run(path: Path) -> Run:
    """Read the directory of a run without blocking the search that may be writing it.

    Raises:
        RunError: If this is not a run, or its journal cannot be read.
    """
    with Journal.open(path / JOURNAL, write=False) as journal:
        course, settings = read_course(journal), journal.settings
        summary, results = run_summary(path), stored_json(path / TABLE_JSON)
        line = tuple(ancestors(journal, course, _leader(course, results)))
        table = table_from_json(results["table"]) if results else None
        front = () if results else read_front(journal, course)
        begun = datetime.fromisoformat(journal.created).timestamp()
        session = journal.session
    written = _written(path)
    elapsed = max(0.0, written - begun)
    left, seconds = None, None if results else elapsed  # for journals without a session
    if session is not None:
        if summary.status == "running":
            left = session.left(len(course.cached), written)
        seconds = _searched(session, written, is_finished=bool(results))
    start = session.proposals if session else 0
    return Run(
        summary, settings, course, line, results, table, front, elapsed, left, start, seconds
    )


def _searched(session: Session, written: float, is_finished: bool) -> float | None:
    """Return the seconds that a session proposed programs; None if its end is not known."""
    end = session.ended or written
    if session.ended is None and is_finished:  # earlier journals do not have it
        if session.minutes is None:
            return None
        end = min(written, session.begun + 60 * session.minutes)
    return max(0.0, end - session.begun)


def _written(path: Path) -> float:
    """Return the Unix time of the last write; an empty log is made by those who read."""
    files = [path / JOURNAL, path / f"{JOURNAL}-wal"]
    stats = [file.stat() for file in files if file.exists()]
    return max(stat.st_mtime for stat in stats if stat.st_size)


def stored_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is no such file.

    Raises:
        RunError: If the file holds something else.
    """
    if not path.is_file():
        return {}
    try:
        stored = json.loads(read_text(path))
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise RunError(f"{path} cannot be read: it is not an object in JSON")
    return stored


def _leader(course: Course, results: Mapping[str, Any]) -> str:
    """Return the fingerprint of the winner; before the end, that of the best re-scored program."""
    if results:
        try:
            return fingerprint(parse(results["program"]))
        except OptforgeError:
            return ""
    if course.best_leader is not None:
        return course.best_leader.fingerprint
    return min(course.ids, key=lambda name: course.fitness[course.ids[name]], default="")
