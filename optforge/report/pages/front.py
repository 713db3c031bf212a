"""The Pareto front of a search before its table: fitness, state bytes, number of statements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from optforge.assessment.select import undominated
from optforge.report.pages.blocks import Figure, Step
from optforge.report.pages.figures import (
    COLORS,
    Spec,
    encode,
    full_width_plot,
    named_shapes,
    tooltip,
)
from optforge.report.pages.lineage import first_proposals
from optforge.report.search.course import Course, Leader
from optforge.runs import Journal, Proposal, Verdict
from optforge.statistics import mean_interval_over_tasks

_SEARCH, _FRESH = "in the search (partly luck)", "on fresh seeds"


@dataclass(frozen=True)
class FrontProgram:
    """A program that no other judged one beats in fitness, state bytes and statements at once.

    Args:
        proposal: The first proposal of the program.
        verdict: Its verdict.
        fresh: The program on fresh seeds; None if it was not trained on any.
    """

    proposal: Proposal
    verdict: Verdict
    fresh: Leader | None


def read_front(journal: Journal, course: Course) -> tuple[FrontProgram, ...]:
    """Return the front of the judged programs, the fittest first.

    Args:
        journal: Journal of the run.
        course: Its course.
    """
    kept = undominated(course.fittest.items(), lambda item: (course.fitness[item[1]], *item[0]))
    fresh = {
        rescored.fingerprint: rescored
        for rescored in course.rescored
        if math.isfinite(rescored.fresh)
    }
    first, front = first_proposals(course), []
    for _, number in sorted(kept, key=lambda item: course.fitness[item[1]]):
        verdict = journal.verdict(number)
        if verdict is not None and number in first:
            proposal = next(journal.proposals(first[number]))
            front.append(FrontProgram(proposal, verdict, fresh.get(verdict.fingerprint)))
    return tuple(front)


def front_figure(front: Sequence[FrontProgram]) -> Figure:
    """Return the figure of a front; a click on a point opens its program."""
    rows = [row for number, program in enumerate(front) for row in _rows(number, program)]
    caption = (
        "No other judged program is better in fitness, state and length at once. A circle is the "
        "value by which the search chose, so the luckiest of many; a square is the same program "
        "on fresh seeds. Lines: 95 % intervals over seeds. A click opens the program below."
    )
    return Figure("pareto", "Pareto front so far.", caption, _spec(), rows)


def front_steps(front: Sequence[FrontProgram]) -> tuple[Step, ...]:
    """Return the programs of a front as entries of a tree."""
    return tuple(_step(number, program) for number, program in enumerate(front))


def _rows(number: int, program: FrontProgram) -> Iterator[dict[str, Any]]:
    verdict, fresh = program.verdict, program.fresh
    values = [(_SEARCH, verdict.fitness, _half(verdict))]
    values += [(_FRESH, fresh.fresh, fresh.half)] if fresh else []
    for series, fitness, half in values:
        half = half if math.isfinite(half) else 0.0
        yield {
            "series": series, "program": program.proposal.number, "fitness": fitness,
            "low": fitness - half, "high": fitness + half, "state bytes": verdict.state_bytes,
            "statements": verdict.live_statements, "opens": f"pareto-{number}",
        }  # fmt: skip


def _half(verdict: Verdict) -> float:
    """Return half the 95 % interval of a fitness over the seeds of the search."""
    scores = [row for row in verdict.scores.values() if row]
    interval = mean_interval_over_tasks(scores) if scores else None
    return interval.high - interval.mean if interval else math.inf


def _spec() -> Spec:
    scale = {"zero": False, "padding": 12}
    y = encode("fitness", "quantitative", "fitness", scale=scale)
    shown = {
        "x": encode("statements", "quantitative", "statements", scale=scale,
                    axis={"tickMinStep": 1}),
        "color": encode("state bytes", "ordinal", "state bytes a parameter",
                        scale={"range": list(COLORS)}, legend={"orient": "bottom"}),
    }  # fmt: skip
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    hover = tooltip("series", "program", "fitness", "low", "high", "state bytes", "statements")
    point = {"y": y, "shape": named_shapes("series", [_SEARCH, _FRESH]), "tooltip": hover}
    mark = {"type": "point", "filled": True, "size": 90, "opacity": 0.9, "cursor": "pointer"}
    layers = [
        {"mark": {"type": "rule", "opacity": 0.5}, "encoding": {**shown, **ends}},
        {"mark": mark, "encoding": {**shown, **point}},
    ]
    return {**full_width_plot(240), "layer": layers}


def _step(number: int, program: FrontProgram) -> Step:
    proposal, verdict, fresh = program.proposal, program.verdict, program.fresh
    title = f"program {proposal.number:,}: fitness {verdict.fitness:+.4f} in the search"
    note = f"{verdict.state_bytes:g} bytes of state, {verdict.live_statements} statements"
    if fresh:
        spread = f" ± {fresh.half:.4f}" if math.isfinite(fresh.half) else ""
        note += f", {fresh.fresh:+.4f}{spread} on fresh seeds"
    lines = tuple((" ", line) for line in proposal.program.splitlines())
    return Step(title, note, lines, f"pareto-{number}")
