"""The line of descent of a program: the steps from the start to it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from optforge.report.pages.blocks import Step
from optforge.report.search.course import Course
from optforge.report.words import loss_change
from optforge.runs import Journal, Proposal, Verdict
from optforge.statistics import Interval, mean_interval_over_tasks

LONGEST = 400  # programs of a line that are shown, so that the page stays small


@dataclass(frozen=True)
class Ancestor:
    """A program on a line of descent.

    Args:
        proposal: The proposal.
        verdict: Its verdict; None if it has none.
    """

    proposal: Proposal
    verdict: Verdict | None


def ancestors(journal: Journal, course: Course, fingerprint: str) -> list[Ancestor]:
    """Return the line of descent of a program, the oldest first.

    A restart is followed to the proposal with which its program first appeared. Of a very long
    line only the end is returned.

    Args:
        journal: Journal of the run.
        course: Its course.
        fingerprint: Fingerprint of the program; without a verdict the line is empty.
    """
    line = []
    for number in lineage_numbers(course, course.ids.get(fingerprint))[-LONGEST:]:
        proposal = next(journal.proposals(number))
        verdict = None if proposal.verdict is None else journal.verdict(proposal.verdict)
        line.append(Ancestor(proposal, verdict))
    return line


def lineage_numbers(course: Course, verdict: int | None) -> list[int]:
    """Return the numbers of the proposals that lead to a verdict, the oldest first.

    Example:
        >>> course = Course(parents=[None, 0, 1, None, 3], verdicts=[0, 1, 2, 2, 4])
        >>> lineage_numbers(course, 4)
        [0, 1, 2, 4]
    """
    first = first_proposals(course)
    place = first.get(verdict) if verdict is not None else None
    line: list[int] = []
    while place is not None:
        line.append(place)
        origin = course.parents[place]
        if origin is not None and not 0 <= origin < place:  # a damaged journal; it may go round
            raise ValueError(f"program {place} descends from {origin}")
        if origin is not None and course.parents[origin] is None:  # a restart repeats a program
            origin = min(origin, first.get(course.verdicts[origin], origin))
        place = origin
    return line[::-1]


def first_proposals(course: Course) -> dict[int | None, int]:
    """Return the number of the first proposal with each verdict, by the verdict's id.

    Example:
        >>> first_proposals(Course(verdicts=[0, 1, 0]))
        {0: 0, 1: 1}
    """
    first: dict[int | None, int] = {}
    for number, verdict in enumerate(course.verdicts):
        first.setdefault(verdict, number)
    return first


def lineage_steps(line: Sequence[Ancestor]) -> tuple[Step, ...]:
    """Return a line of descent as entries of a tree, each with the change of the program."""
    steps, before = [], None
    for ancestor in line:
        steps.append(_step(ancestor, before))
        before = ancestor
    return tuple(steps)


def gain(after: Verdict | None, before: Verdict | None) -> Interval | None:
    """Return the change of fitness, paired by task and seed; None if one was not judged in full."""
    if after is None or before is None:
        return None
    if not (math.isfinite(after.fitness) and math.isfinite(before.fitness)):
        return None
    rows = [
        [a - b for a, b in zip(after.scores[task], before.scores[task], strict=False)]
        for task in after.scores
        if before.scores.get(task) and after.scores[task]
    ]
    return mean_interval_over_tasks(rows) if rows else None


def difference(before: str, after: str) -> tuple[tuple[str, str], ...]:
    """Return the lines of two programs with marks: ``+`` added, ``-`` removed, a space otherwise.

    Example:
        >>> difference("a\\nb\\n", "a\\nc\\n")
        ((' ', 'a'), ('-', 'b'), ('+', 'c'))
    """
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return tuple((line[0], line[2:]) for line in lines if line[0] in " +-")


def _step(ancestor: Ancestor, before: Ancestor | None) -> Step:
    proposal, verdict = ancestor.proposal, ancestor.verdict
    value = _value(verdict)
    title = f"{proposal.number:,}, {proposal.phase}: {proposal.mutation}, {value}"
    if before is None:
        return Step(title, "where the line begins here", difference("", proposal.program))
    change = gain(verdict, before.verdict)
    note = "gain not known: it or its parent was not judged in full"
    if change is not None:
        note = f"{loss_change(change)} against its parent"
        note += ", within the noise" if change.low <= 0 <= change.high else ""
    return Step(title, note, difference(before.proposal.program, proposal.program))


def _value(verdict: Verdict | None) -> str:
    if verdict is None:
        return "no verdict"
    if math.isfinite(verdict.fitness):
        return f"fitness {verdict.fitness:+.4f}"
    return f"rejected at {verdict.stage_name}"
