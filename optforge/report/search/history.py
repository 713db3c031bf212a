"""The history figure of a search: best fitness, cache share and rejections, from the journal."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy

from optforge.evolution.overfitting import KIND as VALIDATE
from optforge.evolution.overfitting import Validation, overfitted_ranges
from optforge.runs import Journal

if TYPE_CHECKING:  # matplotlib is slow to import and only needed when something is drawn
    from matplotlib.axes import Axes

_BINS = 80
_DOTS = 4000  # more judged programs than this are thinned out
_COLORS = {"constants": "#4477aa", "structure": "#228833", "random": "#aa3377"}
_JUDGED = "judged"


@dataclass
class Course:
    """The course of a search as numbers to draw, read from the journal.

    Args:
        cached: Whether the verdict was already known, for each proposal.
        phases: Name, first and last proposal, proposals and values of the running best.
        judged: Proposal number and fitness of each full verdict.
        rescored: Proposal number and fitness on fresh seeds of each re-scored leader.
        validated: Proposal number, and log loss on larger tasks over that of the first incumbent.
        overfitted: First and last proposal of each stretch of meta-overfitting.
        stages: Number of new programs that ended at each stage.
    """

    cached: list[bool] = field(default_factory=list)
    phases: list[tuple[str, int, list[int], list[float]]] = field(default_factory=list)
    judged: list[tuple[int, float]] = field(default_factory=list)
    rescored: list[tuple[int, float]] = field(default_factory=list)
    validated: list[tuple[int, float]] = field(default_factory=list)
    overfitted: list[tuple[int, int]] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)


def read_course(journal: Journal) -> Course:
    """Read a journal once, in the order of the search."""
    course, fitness, ends = Course(), {}, {}
    for verdict in journal.verdicts():
        fitness[verdict.id] = verdict.fitness
        course.stages[verdict.stage_name.split(":")[0]] += 1
    for proposal in journal.proposals():
        value = fitness.get(proposal.verdict, math.inf)
        _follow(course, proposal.phase, proposal.number, value)
        if math.isfinite(value) and not proposal.cached:
            course.judged.append((proposal.number, value))
        course.cached.append(proposal.cached)
        ends[proposal.batch] = proposal.number
    for event in journal.events("rescore"):
        if event.batch in ends:
            course.rescored.append((ends[event.batch], event.detail["fitness"]))
    validations = [Validation.read(event.detail) for event in journal.events(VALIDATE)]
    course.validated = [(v.at, v.loss - validations[0].loss) for v in validations]
    course.overfitted = overfitted_ranges(validations)
    return course


def draw_history(journal: Journal) -> bytes:
    """Draw the history of a search.

    Args:
        journal: Journal of the run.

    Returns:
        A PNG with the best fitness of each phase over the programs, the values of leaders on fresh
        seeds, the share of known programs, and the stages at which new ones were rejected.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    course = read_course(journal)
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=(2, 1))
    _draw_fitness(figure.add_subplot(grid[0, :]), course)
    _draw_cache(figure.add_subplot(grid[1, 0]), course)
    _draw_stages(figure.add_subplot(grid[1, 1]), course)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def _follow(course: Course, phase: str, number: int, value: float) -> None:
    if not course.phases or course.phases[-1][0] != phase:
        course.phases.append((phase, number, [], []))
    numbers, best = course.phases[-1][2:]
    if math.isfinite(value) and (not best or value < best[-1]):
        numbers.append(number)
        best.append(value)


def _draw_fitness(axes: Axes, course: Course) -> None:
    total = len(course.cached)
    thin = course.judged[:: 1 + len(course.judged) // _DOTS]
    axes.scatter(*_columns(thin), s=3, color="0.75", label="judged", zorder=1, rasterized=True)
    starts = [start for _, start, *_ in course.phases]
    ends = [*starts[1:], total][: len(starts)]  # none where a search ended before its first batch
    for (phase, start, numbers, best), end in zip(course.phases, ends, strict=True):
        color = _COLORS.get(phase, "0.3")
        axes.axvspan(start, max(end, start + 1), color=color, alpha=0.08, lw=0)
        if best:
            axes.step(
                [*numbers, end], [*best, best[-1]], where="post", color=color, lw=1.8,
                label=f"best, {phase}", zorder=3,
            )  # fmt: skip
    axes.scatter(
        *_columns(course.rescored), s=28, marker="D", color="#ee6677", edgecolor="white",
        label="leader on fresh seeds", zorder=4,
    )  # fmt: skip
    _draw_larger(axes, course)
    axes.axhline(0, color="0.4", lw=0.8, ls="--", zorder=2)
    axes.set_xlim(0, max(total, 1))
    _zoom(axes, course)
    axes.set_xlabel("programs")
    axes.set_ylabel("log of loss over tuned AdamW's")
    axes.set_title("Best fitness (lower is better; 0 is tuned AdamW)", fontsize=11)
    axes.legend(fontsize=8, loc="upper right")


def _draw_larger(axes: Axes, course: Course) -> None:
    """Draw the incumbents on larger tasks, and where they got worse while the search gained."""
    if not course.validated:
        return
    axes.plot(
        *_columns(course.validated), color="#cc3311", marker=".", lw=1.2,
        label="incumbent on larger tasks, over the first", zorder=4,
    )  # fmt: skip
    for begin, end in course.overfitted:
        axes.axvspan(begin, end, color="#cc3311", alpha=0.12, lw=0, zorder=0)


def _zoom(axes: Axes, course: Course) -> None:
    """Show the best and the re-scored values in full; cut off the worst judged ones and the start.

    The warm start is far above everything that follows, which would look like a flat line.
    """
    early = len(course.cached) / 100
    values = [
        value
        for *_, numbers, best in course.phases
        for number, value in zip(numbers, best, strict=True)
        if number >= early or value == best[-1]
    ]
    values += [v for _, v in (*course.rescored, *course.validated) if math.isfinite(v)]
    if values:
        values.append(0.0)
        judged = [value for _, value in course.judged]
        top = max(*values, float(numpy.quantile(judged, 0.5)) if judged else 0.0)
        margin = 0.08 * (top - min(values)) or 0.1
        axes.set_ylim(min(values) - margin, top + margin)


def _draw_cache(axes: Axes, course: Course) -> None:
    bins = min(_BINS, max(1, len(course.cached) // 20))
    parts = numpy.array_split(numpy.array(course.cached, float), bins)
    edges = numpy.cumsum([0] + [len(part) for part in parts])
    share = [100 * part.mean() if len(part) else 0.0 for part in parts]
    axes.stairs(share, edges, fill=True, color="#66ccee")
    axes.set_xlim(0, max(len(course.cached), 1))
    axes.set_ylim(0, 100)
    axes.set_xlabel("programs")
    axes.set_title("Known already (cache), %", fontsize=10)


def _draw_stages(axes: Axes, course: Course) -> None:
    names = sorted(course.stages, key=lambda name: (name == _JUDGED, -course.stages[name]))
    counts = [course.stages[name] for name in names]
    colors = ["#228833" if name == _JUDGED else "#ccbb44" for name in names]
    bars = axes.barh(range(len(names)), counts, color=colors)
    axes.bar_label(bars, [f" {count:,}" for count in counts], fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.margins(x=0.18)
    axes.invert_yaxis()
    axes.set_title("New programs: rejected at, or judged in full", fontsize=10)


def _columns(points: Iterable[tuple[int, float]]) -> tuple[list[int], list[float]]:
    pairs = list(points)
    return [number for number, _ in pairs], [value for _, value in pairs]
