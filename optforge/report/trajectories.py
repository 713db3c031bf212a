"""The picture of the paths that rules take over surfaces of two weights."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from optforge.analysis import fingerprint
from optforge.language import Program, load_rule
from optforge.report.surfaces import STEPS, SURFACES, Surface, Trajectory, trajectory

if TYPE_CHECKING:  # matplotlib is slow to import and only needed when something is drawn
    from matplotlib.axes import Axes

BESIDE = {"AdamW": "adamw_bias_correction", "momentum SGD": "momentum_sgd"}
_COLORS = ("#ee6677", "#4477aa", "#228833")  # Paul Tol's bright scheme
_MARKS = "osD"
_POINTS = 200  # of the background, along each side


def draw_trajectories(program: Program, name: str) -> bytes:
    """Draw the paths of a rule, of AdamW and of SGD with momentum; return a PNG.

    Each goes 300 steps from the same start, without weight decay, under half a cosine, at the best
    of 49 learning rates for each surface; below it is the value of the surface after every step.

    Args:
        program: The rule.
        name: Its name in the legend.

    Raises:
        ProgramError: If the kinds of the rule's values do not match.

    Example:
        >>> draw_trajectories(load_rule("lion"), "lion")[1:4]
        b'PNG'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rules = _rules(program, name)
    figure = Figure(figsize=(3.4 * len(SURFACES), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(SURFACES), height_ratios=(3, 2), squeeze=False)
    for surface, above, below in zip(SURFACES, *grid, strict=True):
        paths = {name: trajectory(rule, surface) for name, rule in rules.items()}
        _draw_surface(above, surface)
        _draw_paths(above, paths)
        _draw_values(below, paths)
    grid[1, 0].set_ylabel("value of the surface")
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _rules(program: Program, name: str) -> dict[str, Program]:
    """Return the rule and those beside it, without one that is the same rule."""
    others = {title: load_rule(rule) for title, rule in BESIDE.items()}
    same = fingerprint(program)
    return {name: program} | {k: rule for k, rule in others.items() if fingerprint(rule) != same}


def _draw_surface(axes: Axes, surface: Surface) -> None:
    xs, ys = (torch.linspace(*side, _POINTS, dtype=torch.float64) for side in surface.sides)
    grid = torch.cartesian_prod(xs, ys)
    values = surface.value(grid).reshape(_POINTS, _POINTS).T
    axes.contourf(xs, ys, (values + 1e-3).log10(), levels=24, cmap="Greys", alpha=0.6)
    for minimum in surface.minima:
        axes.plot(*minimum, marker="*", color="black", markersize=11, zorder=4, linestyle="")
    axes.plot(*surface.start, marker="x", color="black", markersize=7, zorder=4, linestyle="")
    axes.set_title(surface.name, fontsize=10)
    axes.set_xlim(*surface.sides[0])
    axes.set_ylim(*surface.sides[1])


def _draw_paths(axes: Axes, paths: Mapping[str, Trajectory]) -> None:
    for (name, path), color, mark in zip(paths.items(), _COLORS, _MARKS, strict=False):
        x, y = path.weights.unbind(1)
        axes.plot(x, y, color=color, lw=1.2, marker=mark, markersize=3.5, markevery=20, label=name)


def _draw_values(axes: Axes, paths: Mapping[str, Trajectory]) -> None:
    for path, color, mark in zip(paths.values(), _COLORS, _MARKS, strict=False):
        values = path.values.clamp(min=1e-16)
        label = f"lr {path.rate:.2g}"
        axes.plot(
            values, color=color, lw=1.2, marker=mark, markersize=3.5, markevery=60, label=label
        )
    axes.set_yscale("log")
    axes.set_xlim(0, STEPS)
    axes.set_xlabel("steps")
    axes.legend(fontsize=7, loc="lower left")
