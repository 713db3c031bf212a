"""The figures of a comparison; each is a PNG of print quality.

This module has the figures with one panel per task; those over all tasks are in ``plots``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from optforge.comparison import Findings, compare_pairs, score_findings
from optforge.comparison.cells.cell import CellResult
from optforge.comparison.figures.analysis import best_so_far
from optforge.comparison.result import TaskResult, Trial, log_loss, score
from optforge.report.comparison.plots import (
    draw_axis,
    draw_differences,
    draw_maps,
    draw_profiles,
    numeric_axis,
)
from optforge.report.comparison.style import (
    Look,
    exponential,
    looks,
    losses_axis,
    new_figure,
    one_legend,
    plain_panel,
    png,
)
from optforge.statistics import paired_interval

if TYPE_CHECKING:  # matplotlib is slow to import and only needed when something is drawn
    from matplotlib.axes import Axes

TRIALS = "trials.png"
# Those whose names do not hang on tasks and axes.
FIGURES = ("differences.png", TRIALS, "rates.png", "curves.png", "profiles.png")
_COLUMNS = 3

Draw = Callable[[], bytes]


def draw_figures(findings: Findings) -> Iterator[tuple[str, Draw]]:
    """Yield the figures that the runs allow.

    Args:
        findings: Results of a comparison.

    Yields:
        A file name, and a function that makes its PNG, so that a figure that fails does not affect
        the others.
    """
    if not findings.tasks:
        return
    if compare_pairs(findings):
        yield "differences.png", lambda: draw_differences(findings)
    yield TRIALS, lambda: _panels(findings, _draw_best_so_far)
    yield "rates.png", lambda: _panels(findings, _draw_rates)
    if any(o.curve for result in findings.tasks for t in result.tuned.values() for o in t.finals):
        yield "curves.png", lambda: _panels(findings, _draw_curves)
    for result in findings.tasks:
        if any(tuned.heat_map for tuned in result.tuned.values()):
            name = f"map-{_file(result.variant.label)}.png"
            yield name, functools.partial(draw_maps, result)
    axis = numeric_axis(findings)
    if axis:
        yield f"axis-{axis}.png", lambda: draw_axis(findings, axis)
    if score_findings(findings) is not None:
        yield "profiles.png", lambda: draw_profiles(findings)


def _panels(
    findings: Findings, draw: Callable[[Axes, TaskResult, dict[str, Look], str], None]
) -> bytes:
    """Draw one panel per task, with one legend for all."""
    columns = min(_COLUMNS, len(findings.tasks))
    rows = -(-len(findings.tasks) // columns)
    figure, axes = new_figure(rows, columns)
    drawn = looks(findings)
    for panel, result in zip(axes.flat, findings.tasks, strict=False):
        draw(panel, result, drawn, findings.objective)
        panel.set_title(result.variant.label, fontsize=8)
        plain_panel(panel)
    for panel in list(axes.flat)[len(findings.tasks) :]:
        panel.set_visible(False)
    one_legend(figure, axes)
    return png(figure)


def _draw_best_so_far(
    axes: Axes, result: TaskResult, drawn: dict[str, Look], objective: str
) -> None:
    """Draw the expected best score against the number of trials of the first round."""
    for name, tuned in result.tuned.items():
        values = best_so_far([t for t in tuned.trials if t.round == 0], objective)
        shown = [shown_score(value, objective) for value in values]
        look = drawn[name]
        axes.plot(range(1, len(shown) + 1), shown, look.line, color=look.color, label=name)
    axes.set_xlabel("trials", fontsize=8)
    axes.set_ylabel(f"expected best validation {objective}", fontsize=8)
    if objective == "loss":
        losses_axis(axes)


def _draw_rates(axes: Axes, result: TaskResult, drawn: dict[str, Look], objective: str) -> None:
    """Draw score against learning rate: trials as dots, the curve around the best as a line."""
    for name, tuned in result.tuned.items():
        look = drawn[name]
        dots = rate_points(tuned.trials, objective)
        axes.scatter(*dots, s=8, color=look.color, marker=look.mark, alpha=0.45, linewidths=0,
                     label=name)  # fmt: skip
        if tuned.sensitivity:
            line = rate_points(tuned.sensitivity, objective)
            axes.plot(*line, look.line, color=look.color, linewidth=1.2)
    axes.set_xscale("log")
    if objective == "loss":
        losses_axis(axes)
    axes.set_xlabel("learning rate", fontsize=8)
    axes.set_ylabel(f"validation {objective}", fontsize=8)


def rate_points(trials: Sequence[Trial], objective: str) -> tuple[list[float], list[float]]:
    """Return learning rates and scores of the trials with a result, by rising rate."""
    pairs = [(dict(t.setting).get("lr", math.nan), score(t.outcomes, objective)) for t in trials]
    pairs = sorted(pair for pair in pairs if math.isfinite(pair[1]))
    return [x for x, _ in pairs], [shown_score(y, objective) for _, y in pairs]


def _draw_curves(axes: Axes, result: TaskResult, drawn: dict[str, Look], objective: str) -> None:
    """Draw validation loss over the steps: geometric mean over seeds, its interval as a band."""
    for name, tuned in result.tuned.items():
        steps, rows = common_curve(tuned.finals)
        if not steps:
            continue
        intervals = [paired_interval(column) for column in zip(*rows, strict=True)]
        look = drawn[name]
        means = [exponential(i.mean) for i in intervals]
        axes.plot(steps, means, look.line, color=look.color, label=name)
        if len(rows) > 1:
            low, high = ([exponential(getattr(i, e)) for i in intervals] for e in ("low", "high"))
            axes.fill_between(steps, low, high, color=look.color, alpha=0.2, linewidth=0)
    if result.target is not None:
        axes.axhline(result.target, color="0.4", linewidth=0.7, linestyle=":")
    losses_axis(axes)
    axes.set_xlabel("step", fontsize=8)
    axes.set_ylabel("validation loss", fontsize=8)


def common_curve(finals: Sequence[CellResult]) -> tuple[list[float], list[list[float]]]:
    """Return the steps of the curves of final runs, and log losses ``[runs, steps]``."""
    curves = [o.curve for o in finals if o.curve and not (o.diverged or o.failed)]
    if not curves:
        return [], []
    return [p[0] for p in curves[0]], [[log_loss(p[1]) for p in curve] for curve in curves]


def shown_score(value: float, objective: str) -> float:
    """Return a score as it is shown: a loss, or a metric of which higher is better."""
    return exponential(value) if objective == "loss" else -value


def _file(label: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in label).strip("-")
