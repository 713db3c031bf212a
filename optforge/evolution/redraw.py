"""Drawing a stored search again: that its programs follow from its settings and its verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from optforge.errors import RunError
from optforge.evolution.candidate import Candidate, DrawnBatch
from optforge.evolution.history import History
from optforge.evolution.loop import Search
from optforge.evolution.pipeline import JudgedBatch
from optforge.evolution.plan import read_plan
from optforge.evolution.session import make_search
from optforge.execution import InlineExecutor
from optforge.jobs import JobRunner
from optforge.runs import Journal
from optforge.tasks import Task, find_tasks

_NUMBER = re.compile(r"-?\b\d+\.?\d*(?:e[+-]?\d+)?")
# A child's rate is set by the lengths of updates, whose last digits differ between processors.
_TOLERANCE = 1e-3


def redraw_run(
    path: str | Path,
    programs: int | None = None,
    tasks: Sequence[Task] = (),
    watch: Callable[[History], None] = lambda history: None,
) -> int:
    """Draw the programs of a stored search again, as :func:`redraw` does.

    Args:
        path: The run's journal; it is only read.
        programs: Number of programs after which it ends; all by default.
        tasks: The run's own tasks.
        watch: Called with the history after every batch.

    Returns:
        The number of programs that were drawn again.

    Raises:
        RunError: If the run cannot be read, or a program differs.
        TaskError: If a task of the run is missing.
    """
    with Journal.open(Path(path), write=False) as journal:
        stored = journal.settings
        with journal.content():
            names = stored["search"]["tasks"], stored["search"].get("validation", ())
            proxies, larger = (find_tasks(some, tasks) for some in names)
            plan = read_plan(stored, proxies, (), larger)
        search = make_search(plan, JobRunner(InlineExecutor(lambda: _nothing), journal))
        return redraw(search, programs, watch)


def redraw(
    search: Search,
    programs: int | None = None,
    watch: Callable[[History], None] = lambda history: None,
) -> int:
    """Select and mutate every program of a search's journal again, by its verdicts.

    Nothing is trained: the verdicts are the journal's. Each batch must be what the settings and
    the history before it lead to, so that no program was put in by hand. Constants may differ in
    the fourth digit, since a child's rate is measured.

    Args:
        search: A search that has not run yet.
        programs: Number of programs after which it ends; all by default.
        watch: Called with the history after every batch.

    Returns:
        The number of programs that were drawn again.

    Raises:
        RunError: If a program differs from that of the journal.
    """
    count = 0

    def check(drawn: DrawnBatch, stored: JudgedBatch) -> None:
        nonlocal count
        _check(drawn.candidates, stored.candidates)
        count += len(stored.candidates)

    def ends(history: History) -> bool:
        return programs is not None and count >= programs

    for batch in search.pipeline.judge(search.draw, ends, watch, check):
        search.commit(batch)
        watch(search.history)
    return count


def _check(drawn: Sequence[Candidate], stored: Sequence[Candidate]) -> None:
    pairs = zip(drawn, stored, strict=False)
    wrong = next((theirs.number for ours, theirs in pairs if not _is_same(ours, theirs)), None)
    if wrong is None and len(drawn) != len(stored):
        wrong = stored[0].number + min(len(drawn), len(stored))
    if wrong is not None:
        raise RunError(
            f"program {wrong} of the journal is not what its settings and verdicts lead to; the "
            "run is of another version, or was changed"
        )


def _is_same(ours: Candidate, theirs: Candidate) -> bool:
    same = ("number", "phase", "parent", "mutation", "new")
    if any(getattr(ours, name) != getattr(theirs, name) for name in same):
        return False
    if ours.text == theirs.text:
        return ours.fingerprint == theirs.fingerprint
    if _NUMBER.sub("#", ours.text) != _NUMBER.sub("#", theirs.text):
        return False
    both = zip(_NUMBER.findall(ours.text), _NUMBER.findall(theirs.text), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=_TOLERANCE) for a, b in both)


def _nothing(job: Any) -> Any:
    raise RunError("a search that is drawn again trains nothing")
