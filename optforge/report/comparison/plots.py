"""The figures of a whole comparison: differences, maps, the axis of a sweep, profiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optforge.comparison import Findings, compare_pairs, score_findings
from optforge.comparison.cells.cell import CellResult
from optforge.comparison.result import TaskResult, TunedSetting, log_loss, score
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
from optforge.statistics import Interval, paired_interval

if TYPE_CHECKING:  # matplotlib is slow to import and only needed when something is drawn
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


def draw_differences(findings: Findings) -> bytes:
    """Draw the change of the test loss against the baseline, one line per task and optimizer."""
    pairs = compare_pairs(findings)
    figure, axes = new_figure(1, 1)
    figure.set_size_inches(6.5, 1.0 + 0.24 * len(pairs))
    panel, drawn = axes[0, 0], looks(findings)
    for height, pair in enumerate(pairs):
        interval = pair.test_loss
        ends = [math.exp(min(x, 5.0)) - 1 for x in (interval.mean, interval.low, interval.high)]
        mean, low, high = (100 * x for x in ends)
        if not math.isfinite(interval.mean):
            continue
        look = drawn[pair.recipe]
        panel.errorbar(mean, height, xerr=[[mean - low], [high - mean]], color=look.color,
                       marker=look.mark, markersize=4, capsize=2)  # fmt: skip
    panel.axvline(0, color="0.3", linewidth=0.8)
    panel.set_yticks(range(len(pairs)), [f"{p.task}: {p.recipe}" for p in pairs], fontsize=7)
    panel.invert_yaxis()
    panel.tick_params(axis="x", labelsize=7)
    panel.grid(axis="x", alpha=0.25, linewidth=0.5)
    panel.set_xlabel(f"test loss against {findings.baseline}, percent (95 % interval)", fontsize=8)
    return png(figure)


def draw_maps(result: TaskResult) -> bytes:
    """Draw learning rate times decay, one panel per optimizer, all on one scale from the best."""
    shown = [tuned for tuned in result.tuned.values() if tuned.heat_map]
    figure, axes = new_figure(1, len(shown))
    image = None
    for panel, tuned in zip(axes.flat, shown, strict=True):
        image = _draw_map(panel, tuned)
    if image is not None:
        bar = figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.85)
        bar.set_label("validation loss over the best of the map", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return png(figure)


def _draw_map(axes: Axes, tuned: TunedSetting) -> AxesImage:
    points = {}
    for trial in tuned.heat_map:
        values = dict(trial.setting)
        points[values["lr"], values.get("weight_decay", 0.0)] = score(trial.outcomes, "loss")
    rates, decays = (sorted({key[i] for key in points}) for i in (0, 1))
    grid = np.array([[points[rate, decay] for rate in rates] for decay in decays])
    if np.isfinite(grid).any():
        grid = np.exp(np.minimum(grid - grid.min(), 700.0), where=np.isfinite(grid), out=grid)
    image = axes.imshow(grid, origin="lower", cmap="viridis_r", vmin=1, vmax=2, aspect="auto")
    axes.set_xticks(range(len(rates)), [f"{x:.2g}" for x in rates], fontsize=6, rotation=45)
    axes.set_yticks(range(len(decays)), [f"{x:.2g}" for x in decays], fontsize=6)
    for (row, column), cell in np.ndenumerate(grid):
        text = f"{cell:.2f}" if math.isfinite(cell) else "div."
        dark = math.isfinite(cell) and cell > 1.6
        axes.text(column, row, text, ha="center", va="center", fontsize=6,
                  color="white" if dark else "black")  # fmt: skip
    axes.set_xlabel("learning rate", fontsize=8)
    axes.set_ylabel("weight decay", fontsize=8)
    axes.set_title(tuned.recipe, fontsize=8)
    return image


def numeric_axis(findings: Findings) -> str:
    """Return the first numeric axis of a sweep with three or more values; empty if none."""
    values: dict[str, set[float]] = {}
    for result in findings.tasks:
        for name, value in result.variant.axes.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, set()).add(value)
    return next((name for name, distinct in values.items() if len(distinct) > 2), "")


def draw_axis(findings: Findings, axis: str) -> bytes:
    """Draw the test loss of the tuned optimizers against the axis, with a panel per other point."""
    groups: dict[str, list[TaskResult]] = {}
    for result in findings.tasks:
        others = {k: v for k, v in result.variant.axes.items() if k != axis}
        point = ", ".join(f"{k}={v}" for k, v in others.items())
        groups.setdefault(f"{result.variant.task.name} {point}".strip(), []).append(result)
    figure, axes = new_figure(1, len(groups))
    for panel, (title, results) in zip(axes.flat, groups.items(), strict=True):
        _draw_axis(panel, results, axis, looks(findings))
        panel.set_title(title, fontsize=8)
    one_legend(figure, axes)
    return png(figure)


def _draw_axis(
    axes: Axes, results: Sequence[TaskResult], axis: str, drawn: dict[str, Look]
) -> None:
    selected = False
    for name, look in drawn.items():
        points: list[tuple[float, Interval]] = []
        partial: list[tuple[float, float]] = []
        for result in results:
            finals = result.tuned[name].finals if name in result.tuned else ()
            losses = _ended_losses(finals)
            if losses:
                point = float(result.variant.axes[axis]), paired_interval(losses)
                points.append(point)
                if len(losses) < len(finals):
                    partial.append((point[0], exponential(point[1].mean)))
        if points:
            _draw_points(axes, points, name, look)
        if partial:
            selected = True
            axes.plot(*zip(*partial, strict=True), look.mark, color=look.color, markersize=4,
                      markerfacecolor="white", zorder=5)  # fmt: skip
    axes.set_xscale("log", base=2)
    losses_axis(axes)
    hollow = " (hollow: mean of those runs that ended)" if selected else ""
    axes.set_xlabel(axis.replace("_", " ") + hollow, fontsize=8)
    axes.set_ylabel("test loss", fontsize=8)
    plain_panel(axes)


def _ended_losses(finals: Sequence[CellResult]) -> list[float]:
    """Return the log test losses of the runs that have one; the others cannot be drawn."""
    logs = [log_loss(o.test_loss) for o in finals if not (o.diverged or o.failed)]
    return [x for x in logs if math.isfinite(x)]


def _draw_points(
    axes: Axes, points: Sequence[tuple[float, Interval]], name: str, look: Look
) -> None:
    xs, means = [x for x, _ in points], [exponential(i.mean) for _, i in points]
    # A single run has no interval; one that ends beyond the numbers is cut off.
    ends = [(exponential(i.low), exponential(i.high)) if i.count > 1 else (m, m)
            for m, (_, i) in zip(means, points, strict=True)]  # fmt: skip
    errors = [[m - e[0] for m, e in zip(means, ends, strict=True)],
              [e[1] - m for m, e in zip(means, ends, strict=True)]]  # fmt: skip
    axes.errorbar(xs, means, yerr=errors, color=look.color, marker=look.mark, linestyle=look.line,
                  markersize=4, capsize=2, linewidth=1.2, label=name)  # fmt: skip


def draw_profiles(findings: Findings) -> bytes:
    """Draw the performance profiles of the second ruleset."""
    figure, axes = new_figure(1, 1)
    panel, drawn = axes[0, 0], looks(findings)
    scores = score_findings(findings)
    for name, points in (scores.profiles if scores else {}).items():
        look = drawn[name]
        panel.step(*zip(*points, strict=True), where="post", color=look.color,
                   linestyle=look.line, label=name)  # fmt: skip
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel("time to target over the fastest", fontsize=8)
    panel.set_ylabel("share of tasks", fontsize=8)
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=7)
    return png(figure)
