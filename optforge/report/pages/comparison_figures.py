"""The figures of a comparison's page, the differences and the curves among them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from optforge.comparison import Findings, compare_pairs
from optforge.comparison.figures.tuning_variation import compare_halves
from optforge.report.comparison.figures import common_curve
from optforge.report.comparison.style import exponential
from optforge.report.pages.blocks import Figure
from optforge.report.pages.comparison_parts import (
    Rows,
    by_task,
    distinct,
    each_tuned,
    losses_axis,
    of_each,
)
from optforge.report.pages.figures import (
    Spec,
    encode,
    forest,
    forest_rows,
    named_colors,
    named_lines,
    tooltip,
)
from optforge.report.pages.tuning_figures import best_by_trials, coordinates, maps, rates
from optforge.report.words import loss_change
from optforge.statistics import paired_interval

_LARGEST = 5.0  # log ratio beyond which a point is cut off


def comparison_figures(findings: Findings) -> Iterator[Figure]:
    """Yield the figures that the runs of a comparison allow.

    Args:
        findings: Results of the comparison.
    """
    for draw in (differences, curves, rates, coordinates, best_by_trials, maps):
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
    names, tasks = distinct(rows, "name"), distinct(rows, "task")
    title = ["change of test loss", f"against {findings.baseline}, %"]
    spec = forest(title, names, {"task": tasks, "name": names}, len(rows))
    spec["layer"].insert(0, _tuning_luck_bands(names, title))
    return Figure(
        "differences",
        f"Test loss against {findings.baseline}.",
        "Point and line: mean and 95 % interval over fresh seeds, given the chosen settings. Wide "
        "band: the luck of the tuning, the central 95 % over halves of the trials (validation "
        "data). Where the band crosses zero, other trials might have turned the verdict.",
        spec,
        rows,
    )


def _tuning_luck_bands(names: Sequence[str], title: list[str]) -> Spec:
    """Return the layer of wide bands: the luck of each optimizer's tuning."""
    mark = {"type": "rule", "strokeWidth": 10, "opacity": 0.22}
    encoding = {
        "y": forest_rows(),
        "x": encode("luck_low", "quantitative", title),
        "x2": {"field": "luck_high"},
        "color": {**named_colors("name", names), "legend": None},
    }
    return {"mark": mark, "encoding": encoding}


def _percents(**logs: float | None) -> dict[str, float | None]:
    finite = {k: None if v is None else max(-_LARGEST, min(v, _LARGEST)) for k, v in logs.items()}
    return {name: None if v is None else 100 * math.expm1(v) for name, v in finite.items()}


def curves(findings: Findings) -> Figure | None:
    """Return validation loss over steps: geometric mean over seeds, its interval as a band."""
    rows: Rows = []
    for task, name, tuned in each_tuned(findings):
        steps, logs = common_curve(tuned.finals)
        columns = list(zip(steps, zip(*logs, strict=True), strict=True))
        for step, column in of_each(findings, columns):
            interval = paired_interval(column)
            ends = (interval.low, interval.high) if len(column) > 1 else (interval.mean,) * 2
            low, high = map(exponential, ends)
            rows.append(
                {"task": task, "optimizer": name, "step": step,
                 "loss": exponential(interval.mean), "low": low, "high": high}
            )  # fmt: skip
    x, y = encode("step", "quantitative", "step"), losses_axis("loss", "validation loss")
    names = distinct(rows, "optimizer")
    line = named_lines("optimizer", names)
    band = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": line["color"]}
    layers = [
        {"mark": {"type": "area", "opacity": 0.2}, "encoding": band},
        {"mark": "line", "encoding": {"x": x, "y": y, **line,
                                      "tooltip": tooltip("optimizer", "step", "loss")}},
    ]  # fmt: skip
    caption = "Geometric mean over the final runs that ended, its 95 % interval as a band."
    return by_task("curves", "Curves of the chosen settings.", caption, layers, rows)
