"""The figures of a comparison's page: differences, curves, rates, maps, best against trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optforge.comparison import Findings, compare_pairs
from optforge.comparison.figures.analysis import best_so_far
from optforge.comparison.figures.tuning_variation import compare_halves
from optforge.comparison.result import score
from optforge.report.comparison.figures import common_curve, rate_points, shown_score
from optforge.report.comparison.style import exponential
from optforge.report.pages.blocks import Figure
from optforge.report.pages.figures import (
    Spec,
    encode,
    forest,
    full_width,
    named_colors,
    one_of,
    tooltip,
)
from optforge.report.words import loss_change
from optforge.statistics import paired_interval

Rows = list[dict[str, Any]]
_LARGEST = 5.0  # log ratio beyond which a point is cut off


def comparison_figures(findings: Findings) -> Iterator[Figure]:
    """Yield the figures that the runs of a comparison allow.

    Args:
        findings: Results of the comparison.
    """
    for draw in (differences, curves, rates, best_by_trials, maps):
        figure = draw(findings)
        if figure is not None:
            yield figure


def differences(findings: Findings) -> Figure | None:
    """Return the forest plot of differences, each with the luck of the tuning behind it."""
    luck = {(h.task, h.recipe): h for h in compare_halves(findings)}
    rows: Rows = []
    for pair in compare_pairs(findings):
        halves, interval = luck.get((pair.task, pair.recipe)), pair.test_loss
        if not math.isfinite(interval.mean):
            continue
        rows.append(
            {"task": pair.task, "name": pair.recipe, "row": f"{pair.task}: {pair.recipe}",
             **_percents(mean=interval.mean, low=interval.low, high=interval.high),
             **_percents(luck_low=halves and halves.low, luck_high=halves and halves.high),
             "words": f"{loss_change(interval)}, {pair.verdict}"}
        )  # fmt: skip
    if not rows:
        return None
    names, tasks = _distinct(rows, "name"), _distinct(rows, "task")
    title = f"change of test loss against {findings.baseline}, %"
    spec = forest(title, names, {"task": tasks, "name": names}, len(rows))
    spec["layer"].insert(0, _luck(names, title))
    return Figure(
        "differences",
        f"Test loss against {findings.baseline}.",
        "Point and line: mean and 95 % interval over fresh seeds, given the chosen settings. Wide "
        "band: the luck of the tuning, the central 95 % over halves of the trials (validation "
        "data). Where the band crosses zero, other trials might have turned the verdict.",
        spec,
        rows,
    )


def _luck(names: Sequence[str], title: str) -> Spec:
    mark = {"type": "rule", "strokeWidth": 10, "opacity": 0.22}
    encoding = {
        "y": encode("row", "nominal", sort=None),
        "x": encode("luck_low", "quantitative", title),
        "x2": {"field": "luck_high"},
        "color": named_colors("name", names),
    }
    return {"mark": mark, "encoding": encoding}


def _percents(**logs: float | None) -> dict[str, float | None]:
    finite = {k: None if v is None else max(-_LARGEST, min(v, _LARGEST)) for k, v in logs.items()}
    return {name: None if v is None else 100 * math.expm1(v) for name, v in finite.items()}


def curves(findings: Findings) -> Figure | None:
    """Return validation loss over steps: geometric mean over seeds, its interval as a band."""
    rows: Rows = []
    for task, name, tuned in _each(findings):
        steps, logs = common_curve(tuned.finals)
        for step, column in zip(steps, zip(*logs, strict=True), strict=True):
            interval = paired_interval(column)
            ends = (interval.low, interval.high) if len(column) > 1 else (interval.mean,) * 2
            low, high = map(exponential, ends)
            rows.append(
                {"task": task, "optimizer": name, "step": step,
                 "loss": exponential(interval.mean), "low": low, "high": high}
            )  # fmt: skip
    x, y = encode("step", "quantitative", "step"), _losses("loss", "validation loss")
    color = named_colors("optimizer", _distinct(rows, "optimizer"))
    band = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color}
    layers = [
        {"mark": {"type": "area", "opacity": 0.2}, "encoding": band},
        {"mark": "line", "encoding": {"x": x, "y": y, "color": color,
                                      "tooltip": tooltip("optimizer", "step", "loss")}},
    ]  # fmt: skip
    caption = "Geometric mean over the final runs that ended, its 95 % interval as a band."
    return _by_task("curves", "Curves of the chosen settings.", caption, layers, rows)


def rates(findings: Findings) -> Figure | None:
    """Return score against learning rate: trials as dots, the curve around the best as a line."""
    objective, rows = findings.objective, []
    for task, name, tuned in _each(findings):
        for series, trials in (("trial", tuned.trials), ("curve", tuned.sensitivity)):
            for rate, value in zip(*rate_points(trials, objective), strict=True):
                rows.append(
                    {"task": task, "optimizer": name, "series": series, "rate": rate,
                     "score": value}
                )  # fmt: skip
    encoding = {
        "x": encode("rate", "quantitative", "learning rate", scale={"type": "log"}),
        "y": _score(objective, "score"),
        "color": named_colors("optimizer", _distinct(rows, "optimizer")),
        "tooltip": tooltip("optimizer", "rate", "score"),
    }
    dots, line = ({"filter": {"field": "series", "equal": s}} for s in ("trial", "curve"))
    layers = [
        {"transform": [dots], "mark": {"type": "point", "filled": True}, "encoding": encoding},
        {"transform": [line], "mark": "line", "encoding": encoding},
    ]
    if "curve" not in _distinct(rows, "series"):
        layers.pop()
    caption = "Every trial that has a result; a line where rates around the best were trained."
    return _by_task("rates", "Trials by learning rate.", caption, layers, rows)


def best_by_trials(findings: Findings) -> Figure | None:
    """Return the expected best score against the number of trials."""
    objective, rows = findings.objective, []
    for task, name, tuned in _each(findings):
        first = [trial for trial in tuned.trials if trial.round == 0]
        for count, value in enumerate(best_so_far(first, objective), 1):
            shown = shown_score(value, objective)
            rows.append({"task": task, "optimizer": name, "trials": count, "best": shown})
    encoding = {
        "x": encode("trials", "quantitative", "trials", axis={"tickMinStep": 1}),
        "y": _score(objective, "best"),
        "color": named_colors("optimizer", _distinct(rows, "optimizer")),
        "tooltip": tooltip("optimizer", "trials", "best"),
    }
    layers = [{"mark": {"type": "line", "point": True}, "encoding": encoding}]
    caption = "Expected best of so many random trials: a line still falling wants more of them."
    return _by_task("trials", "Best against the number of trials.", caption, layers, rows)


def maps(findings: Findings) -> Figure | None:
    """Return the maps of learning rate and weight decay, on one scale from the best."""
    rows: Rows = []
    for task, name, tuned in _each(findings):
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
    control, chosen = one_of("map", _distinct(rows, "map"))
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


def _by_task(
    name: str, title: str, caption: str, layers: Sequence[Mapping[str, Any]], rows: Rows
) -> Figure | None:
    """Return a figure that shows one task at a time; None without data."""
    rows = [row for row in rows if all(map(_is_shown, row.values()))]
    if not rows:
        return None
    control, chosen = one_of("task", _distinct(rows, "task"))
    spec = {**full_width(320), "params": [control], "transform": [chosen], "layer": list(layers)}
    return Figure(name, title, caption, spec, rows)


def _is_shown(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _each(findings: Findings) -> Iterator[tuple[str, str, Any]]:
    for result in findings.tasks:
        for name, tuned in result.tuned.items():
            yield result.variant.label, name, tuned


def _distinct(rows: Iterable[Mapping[str, Any]], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _losses(field: str, title: str) -> Spec:
    return encode(field, "quantitative", title, scale={"type": "log", "nice": False})


def _score(objective: str, field: str) -> Spec:
    title = f"validation {objective}"
    if objective == "loss":
        return _losses(field, title)
    return encode(field, "quantitative", title, scale={"zero": False})
