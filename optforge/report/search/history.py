"""The history figure of a search: best fitness, cache share and rejections, from the journal."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from optforge.report.search.course import (
    JUDGED,
    Course,
    known_shares,
    read_course,
    stage_rows,
    value_range,
)
from optforge.runs import Journal

if TYPE_CHECKING:  # matplotlib is slow to import and only needed when something is drawn
    from matplotlib.axes import Axes

_DOTS = 4000  # more judged programs than this are thinned out
_COLORS = {"constants": "#4477aa", "structure": "#228833", "random": "#aa3377"}


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
        *_columns((r.number, r.fresh) for r in course.rescored), s=28, marker="D",
        color="#ee6677", edgecolor="white", label="leader on fresh seeds", zorder=4,
    )  # fmt: skip
    _draw_larger(axes, course)
    axes.axhline(0, color="0.4", lw=0.8, ls="--", zorder=2)
    axes.set_xlim(0, max(total, 1))
    limits = value_range(course)
    if limits is not None:
        axes.set_ylim(*limits)
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


def _draw_cache(axes: Axes, course: Course) -> None:
    edges, share = known_shares(course)
    axes.stairs(share, edges, fill=True, color="#66ccee")
    axes.set_xlim(0, max(len(course.cached), 1))
    axes.set_ylim(0, 100)
    axes.set_xlabel("programs")
    axes.set_title("Known already (cache), %", fontsize=10)


def _draw_stages(axes: Axes, course: Course) -> None:
    names, counts = zip(*stage_rows(course), strict=True) if course.stages else ((), ())
    colors = ["#228833" if name == JUDGED else "#ccbb44" for name in names]
    bars = axes.barh(range(len(names)), counts, color=colors)
    axes.bar_label(bars, [f" {count:,}" for count in counts], fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.margins(x=0.18)
    axes.invert_yaxis()
    axes.set_title("New programs: rejected at, or judged in full", fontsize=10)


def _columns(points: Iterable[tuple[int, float]]) -> tuple[list[int], list[float]]:
    pairs = list(points)
    return [number for number, _ in pairs], [value for _, value in pairs]
