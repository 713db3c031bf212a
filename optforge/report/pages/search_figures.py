"""The figures of the course of a search: progress, rejections, known programs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from optforge.report.pages.blocks import Figure
from optforge.report.pages.figures import (
    COLORS,
    GREY,
    Spec,
    encode,
    full_width,
    full_width_rows,
    layer,
    named_colors,
    thinned,
    tooltip,
    zero_line,
)
from optforge.report.search.course import JUDGED, Course, known_shares, value_range
from optforge.statistics import mean_interval_over_tasks

_DOTS = 3000  # of a series; more are thinned out
_POINTS = 500  # with an interval each
_BEST = "best in the search (partly luck)"
_FRESH = "leader on fresh seeds, 95 %"
_LARGER = "leader on larger tasks, over the first, 95 %"
_SERIES = (_BEST, _FRESH, _LARGER)
_JUDGED, _BEGIN, _WORSE = "judged", "new start", "worse on larger tasks"
_NOISE = "noise floor"
# What a caption says of the marks of a series, where there are any.
_MARKS = {
    _NOISE: "The blue band is the noise floor, the interval of the best of them: what ends in it "
    "may be as good.",
    _JUDGED: "Grey dots: programs that were judged in full.",
    _LARGER: "Squares: leaders on larger tasks, over the first that was trained there, which is 0.",
    _WORSE: "Red: leaders became worse on the larger tasks, and the search left them.",
    _BEGIN: "A dotted line is a new start.",
}


def progress(course: Course) -> Figure:
    """Return the figure of fitness over programs: judged, best, re-scored and validated."""
    columns = ["series", "program", "value", "low", "high", "phase"]
    rows = [dict(zip(columns, row, strict=True)) for row in _progress_rows(course)]
    present = {row["series"] for row in rows}
    marks = (words for series, words in _MARKS.items() if series in present)
    return Figure(
        "progress",
        "Best fitness (log of loss over tuned AdamW's; lower is better, 0 is tuned AdamW).",
        "The best value in the search is the luckiest of many and is drawn thin. What counts are "
        "the points: the same leaders on fresh seeds. Their intervals have the spread between "
        f"seeds that each leader showed in the search. {' '.join(marks)}",
        _progress_spec(course, present),
        rows,
    )


def _progress_rows(course: Course) -> Iterator[tuple[Any, ...]]:
    dots = thinned(course.judged, _DOTS)
    yield from ((_JUDGED, number, value, None, None, "") for number, value in dots)
    total = len(course.cached)
    ends = [*(start for _, start, *_ in course.phases[1:]), total]
    for (phase, _, numbers, best), end in zip(course.phases, ends, strict=False):
        steps = thinned(list(zip(numbers, best, strict=True)), _DOTS)
        yield from ((_BEST, n, v, None, None, phase) for n, v in steps)
        if best:
            yield _BEST, end, best[-1], None, None, phase
    yield from _noise_rows(course)
    for r in thinned(course.rescored, _POINTS):
        half = r.half if math.isfinite(r.half) else 0.0
        yield _FRESH, r.number, r.fresh, r.fresh - half, r.fresh + half, ""
    yield from _validated_rows(course)
    yield from ((_WORSE, a, b, None, None, "") for a, b in course.overfitted)
    restarts = [n for n, parent in enumerate(course.parents) if parent is None and n]
    yield from ((_BEGIN, n, None, None, None, "") for n in restarts)


def _noise_rows(course: Course) -> Iterator[tuple[Any, ...]]:
    best = course.best_leader
    if best is not None and math.isfinite(best.half):
        yield _NOISE, None, None, best.fresh - best.half, best.fresh + best.half, ""


def _validated_rows(course: Course) -> Iterator[tuple[Any, ...]]:
    for v in thinned(course.validations, _POINTS):
        first = course.validations[0].logs
        rows = [[a - b for a, b in zip(v.logs[t], first[t], strict=True)] for t in first]
        interval = mean_interval_over_tasks(rows)
        yield _LARGER, v.at, interval.mean, interval.low, interval.high, ""


def _progress_spec(course: Course, present: Collection[str]) -> Spec:
    x = encode("program", "quantitative", "programs", axis={"format": "~s"})
    limits = value_range(course)
    scale: Spec = {"zero": False} | ({"domain": list(limits)} if limits else {})
    y = encode("value", "quantitative", "fitness", scale=scale)
    color = named_colors("series", [series for series in _SERIES if series in present])
    grey, red, blue = ({"color": {"value": value}} for value in (GREY, COLORS[4], COLORS[5]))
    shown = {"x": x, "y": y, "color": color}
    whisker = {**shown, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    hover = {"tooltip": tooltip("series", "program", "value", "low", "high")}
    band = {"y": {**y, "field": "low"}, "y2": {"field": "high"}, **blue}
    layers = {
        _NOISE: [layer(_NOISE, "rect", band, opacity=0.18)],
        _WORSE: [layer(_WORSE, "rect", {"x": x, "x2": {"field": "value"}, **red}, opacity=0.15)],
        _BEGIN: [layer(_BEGIN, "rule", {"x": x, **grey}, strokeDash=[2, 3])],
        _JUDGED: [
            layer(_JUDGED, "point", {"x": x, "y": y, **grey}, filled=True, size=6, opacity=0.5)
        ],
        _BEST: [
            zero_line("y"),
            layer(_BEST, "line", {**shown, "detail": {"field": "phase"}},
                  interpolate="step-after", strokeWidth=1.5),
        ],
    }  # fmt: skip
    for series, shape in ((_FRESH, "diamond"), (_LARGER, "square")):
        point = {"shape": shape, "filled": True, "size": 60, "opacity": 1}
        layers[series] = [
            layer(series, "rule", whisker),
            layer(series, "point", {**shown, **hover}, **point),
        ]
    drawn = [part for series, parts in layers.items() if series in present for part in parts]
    return {**full_width(360), "layer": drawn or [zero_line("y")]}


def stages(counts: Iterable[tuple[str, int]]) -> Figure:
    """Return the figure of where new programs ended.

    Args:
        counts: Names of the stages with the number of programs that ended there.
    """
    rows = [{"stage": name, "programs": count} for name, count in counts]
    bar = {
        "y": encode("stage", "nominal", sort=None),
        "x": encode("programs", "quantitative", "new programs"),
    }
    judged = {
        "condition": {"test": f"datum.stage == '{JUDGED}'", "value": COLORS[2]},
        "value": COLORS[1],
    }
    hover = {"color": judged, "tooltip": tooltip("stage", "programs")}
    labels = {"type": "text", "align": "left", "dx": 4, "limit": 60}
    text = {"text": {"field": "programs", "type": "quantitative", "format": ","}}
    spec = {
        **full_width_rows(len(rows)),
        "layer": [
            {"mark": "bar", "encoding": {**bar, **hover}},
            {"mark": labels, "encoding": {**bar, **text}},
        ],
    }  # fmt: skip
    caption = (
        "Each new program is trained in stages and leaves at the first that it fails. The probe "
        "computes its update on fixed inputs and trains nothing; a repeat is a seed of a task."
    )
    return Figure("stages", "New programs: rejected at, or judged in full.", caption, spec, rows)


def known(course: Course) -> Figure:
    """Return the figure of the share of programs that were known already."""
    edges, shares = known_shares(course)
    rows = [
        {"from": a, "to": b, "known": share}
        for a, b, share in zip(edges, edges[1:], shares, strict=False)
    ]
    spec = {
        **full_width(160),
        "mark": {"type": "rect", "color": COLORS[5]},
        "encoding": {
            "x": encode("from", "quantitative", "programs", axis={"format": "~s"}),
            "x2": {"field": "to"},
            "y": encode("known", "quantitative", "known, %", scale={"domain": [0, 100]}),
            "y2": {"datum": 0},
            "tooltip": tooltip("from", "to", "known"),
        },
    }
    caption = "A known program has the fingerprint of an earlier one and costs no training."
    return Figure("known", "Programs that were known already.", caption, spec, rows)
