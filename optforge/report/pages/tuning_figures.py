"""The figures of a comparison's tuning: trials by rate and by all they vary, maps, best so far."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optforge.comparison import Findings
from optforge.comparison.figures.analysis import best_so_far
from optforge.comparison.result import TunedSetting, score
from optforge.report.comparison.figures import rate_points, shown_score
from optforge.report.comparison.style import exponential
from optforge.report.pages.blocks import Figure
from optforge.report.pages.comparison_parts import (
    Rows,
    by_task,
    distinct,
    each_tuned,
    of_each,
    score_axis,
)
from optforge.report.pages.figures import (
    COLORS,
    GREY,
    Spec,
    encode,
    full_width,
    named_colors,
    named_lines,
    named_shapes,
    one_of,
    tooltip,
)
from optforge.tuning.dimension import COMPLEMENT
from optforge.tuning.space import drawn_value

_RANK = "rank"  # 0 for the best trial of an optimizer on a task, 100 for the worst
_TENFOLD = "datum.low > 0 && datum.high > 10 * datum.low"
_LOG = "log(datum.value / datum.low) / log(datum.high / datum.low)"
_LINEAR = "(datum.value - datum.low) / (datum.high - datum.low)"
_POSITION = f"datum.high == datum.low ? 0.5 : {_TENFOLD} ? {_LOG} : {_LINEAR}"
_HEIGHT: Spec = {"axis": None, "scale": {"domain": [-0.12, 1.12], "nice": False}}


def rates(findings: Findings) -> Figure | None:
    """Return score against learning rate: trials as dots, the curve around the best as a line."""
    objective, rows = findings.objective, []
    for task, name, tuned in each_tuned(findings):
        for series, trials in (("trial", tuned.trials), ("curve", tuned.sensitivity)):
            points = list(zip(*rate_points(trials, objective), strict=True))
            for rate, value in of_each(findings, points):
                rows.append(
                    {"task": task, "optimizer": name, "series": series, "rate": rate,
                     "score": value}
                )  # fmt: skip
    names = distinct(rows, "optimizer")
    encoding = {
        "x": encode("rate", "quantitative", "learning rate", scale={"type": "log"}),
        "y": score_axis(objective, "score"),
        "color": named_colors("optimizer", names),
        "tooltip": tooltip("optimizer", "rate", "score"),
    }
    shape = {"shape": named_shapes("optimizer", names)}
    dots, line = ({"filter": {"field": "series", "equal": s}} for s in ("trial", "curve"))
    layers = [
        {"transform": [dots], "mark": {"type": "point", "filled": True},
         "encoding": encoding | shape},
        {"transform": [line], "mark": "line", "encoding": encoding},
    ]  # fmt: skip
    if "curve" not in distinct(rows, "series"):
        layers.pop()
    caption = "Every trial that has a result; a line where rates around the best were trained."
    return by_task("rates", "Trials by learning rate.", caption, layers, rows)


def coordinates(findings: Findings) -> Figure | None:
    """Return the trials as parallel coordinates: a line a trial, an axis a hyper-parameter."""
    results, objective = list(each_tuned(findings)), findings.objective
    names = list(dict.fromkeys(name for *_, tuned in results for name in _axes(tuned)))
    rows = [
        {"task": task, "optimizer": name, **dict.fromkeys(names), **trial}
        for task, name, tuned in results
        for trial in of_each(findings, list(_trials(tuned, objective)))
    ]
    if not (rows and names):
        return None
    caption = (
        "A line a trial. An axis goes from the least to the largest value that was tried, on a "
        f"logarithmic scale from a factor of ten on; the last one is the rank by {objective}, 0 "
        "for the best trial. Dashed and grey: a trial without a result, as it diverged or failed."
    )
    spec = _coordinates_spec(objective, [*names, _RANK], rows)
    return Figure("coordinates", "Trials by all that was tuned.", caption, spec, rows)


def _axes(tuned: TunedSetting) -> dict[str, str]:
    """Return the names of the dimensions by their titles: ``1 - beta1``, as it is drawn."""
    return {name.replace(COMPLEMENT, "1 - "): name for name in tuned.space.names}


def _trials(tuned: TunedSetting, objective: str) -> Iterator[dict[str, Any]]:
    scores = [score(trial.outcomes, objective) for trial in tuned.trials]
    ranked = sorted(filter(math.isfinite, scores))
    last = max(1, len(ranked) - 1)
    for number, (trial, value) in enumerate(zip(tuned.trials, scores, strict=True), 1):
        has_result, held = math.isfinite(value), dict(trial.setting)
        yield {
            "trial": number,
            objective: shown_score(value, objective) if has_result else None,
            _RANK: 100 * bisect_left(ranked, value) / last if has_result else None,
            **{
                title: drawn_value(name, trial.setting)
                for title, name in _axes(tuned).items()
                if name.removeprefix(COMPLEMENT) in held
            },
        }


def _coordinates_spec(objective: str, axes: Sequence[str], rows: Rows) -> Spec:
    pairs = [one_of(column, distinct(rows, column)) for column in ("task", "optimizer")]
    bind = {"input": "range", "min": 10, "max": 100, "step": 10, "name": "best trials, %: "}
    share = {"name": "best_share", "value": 100, "bind": bind}
    grid = {"grid": True, "domain": False, "ticks": False, "labelAngle": 0}
    x = encode("axis", "nominal", sort=list(axes), axis=grid)
    return {
        **full_width(360),
        "params": [*(control for control, _ in pairs), share],
        "transform": [*(chosen for _, chosen in pairs), *_positions(axes)],
        "layer": [*_lines(x, objective), _end("low", 0, x), _end("high", 1, x)],
    }


def _lines(x: Spec, objective: str) -> list[Spec]:
    """Return the layers of trials without a result, of those with one, and of their points."""
    line = {
        "x": x,
        "y": {"field": "position", "type": "quantitative", **_HEIGHT},
        "detail": {"field": "trial", "type": "nominal"},
        "order": {"field": "place", "type": "quantitative"},
    }
    scale = {"domain": [0, 100], "range": list(COLORS[:2]), "interpolate": "rgb"}
    title, legend = f"rank by {objective}, % (0 is best)", {"orient": "bottom"}
    color = {"color": encode(_RANK, "quantitative", title, scale=scale, legend=legend)}
    hover = {"tooltip": tooltip("trial", "axis", "value", objective, _RANK)}
    point = {"x": x, "y": line["y"], **color, **hover}
    has_rank, no_rank = ([{"filter": f"{no}isValid(datum.{_RANK})"}] for no in ("", "!"))
    grey = {"type": "line", "color": GREY, "strokeDash": [4, 3], "opacity": 0.7}
    colored, dot = {"type": "line", "opacity": 0.7}, {"type": "point", "filled": True}
    return [
        {"transform": no_rank, "mark": grey, "encoding": line},
        {"transform": has_rank, "mark": colored, "encoding": {**line, **color}},
        {"transform": has_rank, "mark": dot, "encoding": point},
    ]


def _positions(axes: Sequence[str]) -> list[Spec]:
    """Return the transformations from a row a trial to a position on each of its axes."""
    ends = [
        {"op": op, "field": "value", "as": end} for op, end in (("min", "low"), ("max", "high"))
    ]
    is_best = f"isValid(datum.{_RANK}) && datum.{_RANK} <= best_share"
    return [
        {"fold": list(axes), "as": ["axis", "value"]},
        {"filter": "isValid(datum.value)"},
        {"joinaggregate": ends, "groupby": ["axis"]},
        {"calculate": _POSITION, "as": "position"},
        {"calculate": f"indexof({json.dumps(list(axes))}, datum.axis)", "as": "place"},
        {"filter": f"best_share == 100 || {is_best}"},
    ]


def _end(name: str, place: int, x: Mapping[str, Any]) -> Spec:
    """Return the layer with the least or the largest value at the end of each axis."""
    value = {"aggregate": [{"op": "max", "field": name, "as": name}], "groupby": ["axis"]}
    encoding = {
        "x": dict(x), "y": {"datum": place, "type": "quantitative", **_HEIGHT},
        "text": {"field": name, "type": "quantitative", "format": ".3~g"},
    }  # fmt: skip
    mark = {"type": "text", "dy": -12 if place else 14}
    return {"transform": [value], "mark": mark, "encoding": encoding}


def best_by_trials(findings: Findings) -> Figure | None:
    """Return the expected best score against the number of trials."""
    objective, rows = findings.objective, []
    for task, name, tuned in each_tuned(findings):
        first = [trial for trial in tuned.trials if trial.round == 0]
        counted = list(enumerate(best_so_far(first, objective), 1))
        for count, value in of_each(findings, counted):
            shown = shown_score(value, objective)
            rows.append({"task": task, "optimizer": name, "trials": count, "best": shown})
    names = distinct(rows, "optimizer")
    encoding = {
        "x": encode("trials", "quantitative", "trials", axis={"tickMinStep": 1}),
        "y": score_axis(objective, "best"),
        "tooltip": tooltip("optimizer", "trials", "best"),
        **named_lines("optimizer", names),
    }
    layers = [{"mark": {"type": "line", "point": True}, "encoding": encoding}]
    caption = "Expected best of so many random trials: a line still falling wants more of them."
    return by_task("trials", "Best against the number of trials.", caption, layers, rows)


def maps(findings: Findings) -> Figure | None:
    """Return the maps of learning rate and weight decay, on one scale from the best."""
    rows: Rows = []
    for task, name, tuned in each_tuned(findings):
        logs = {trial.setting: score(trial.outcomes, "loss") for trial in tuned.heat_map}
        best = min((x for x in logs.values() if math.isfinite(x)), default=math.nan)
        for setting, log in logs.items():
            values = dict(setting)
            over = exponential(log - best) if math.isfinite(log) else None
            rows.append(
                {"map": f"{task}: {name}", "rate": f"{values['lr']:.2g}",
                 "decay": f"{values.get('weight_decay', 0.0):.2g}", "over the best": over}
            )  # fmt: skip
    if not rows:
        return None
    control, chosen = one_of("map", distinct(rows, "map"))
    spec = {
        **full_width(320),
        "params": [control],
        "transform": [chosen],
        "mark": "rect",
        "encoding": {
            "x": encode("rate", "ordinal", "learning rate", sort=None),
            "y": encode("decay", "ordinal", "weight decay", sort=None),
            "color": encode("over the best", "quantitative", "loss over the best",
                            scale={"scheme": "viridis", "reverse": True, "domain": [1, 2],
                                   "clamp": True}),
            "tooltip": tooltip("rate", "decay", "over the best"),
        },
    }  # fmt: skip
    caption = "Validation loss over the best of the map; what is missing diverged."
    return Figure("maps", "Learning rate and weight decay.", caption, spec, rows)
