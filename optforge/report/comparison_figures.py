"""The figures of a comparison; each is a PNG that a paper could print."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from optforge.compare import Found, compare_pairs, score_found
from optforge.compare.analyse import best_so_far
from optforge.compare.cell import Outcome
from optforge.compare.result import TaskResult, Trial, Tuned, log_loss, score
from optforge.statistics import paired_interval

if TYPE_CHECKING:  # matplotlib is slow to import and only needed when something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Paul Tol's bright scheme, told apart by most colour-blind eyes and in grey.
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#222255")
_MARKS = "osD^vP*X"
_COLUMNS = 3
_WIDTH, _HEIGHT = 3.6, 2.8


def draw_figures(found: Found) -> Iterator[tuple[str, bytes]]:
    """Draw everything that the runs allow.

    Args:
        found: What a comparison found.

    Yields:
        A file's name and its PNG.
    """
    if not found.tasks:
        return
    if compare_pairs(found):
        yield "differences.png", _png(_differences(found))
    yield "trials.png", _panels(found, _draw_best_so_far)
    yield "rates.png", _panels(found, _draw_rates)
    if any(o.curve for result in found.tasks for t in result.tuned.values() for o in t.finals):
        yield "curves.png", _panels(found, _draw_curves)
    for result in found.tasks:
        if any(tuned.heat_map for tuned in result.tuned.values()):
            yield f"map-{_file(result.variant.label)}.png", _png(_maps(result))
    axis = _numeric_axis(found)
    if axis:
        yield f"axis-{axis}.png", _png(_axis(found, axis))
    if score_found(found) is not None:
        yield "profiles.png", _png(_profiles(found))


def _figure(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=150)
    return out.getvalue()


def _panels(found: Found, draw: Callable[[Axes, TaskResult, dict[str, int], str], None]) -> bytes:
    """One panel a task, one legend for all."""
    columns = min(_COLUMNS, len(found.tasks))
    rows = -(-len(found.tasks) // columns)
    figure, axes = _figure(rows, columns)
    places = _places(found)
    for panel, result in zip(axes.flat, found.tasks, strict=False):
        draw(panel, result, places, found.objective)
        panel.set_title(result.variant.label, fontsize=8)
        panel.tick_params(which="both", labelsize=7)
        panel.grid(alpha=0.25, linewidth=0.5)
    for panel in list(axes.flat)[len(found.tasks) :]:
        panel.set_visible(False)
    _legend(figure, axes)
    return _png(figure)


def _legend(figure: Figure, axes: np.ndarray) -> None:
    found = {}
    for panel in axes.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            list(found.values()), list(found), loc="outside lower center", ncols=6, fontsize=7
        )


def _places(found: Found) -> dict[str, int]:
    names = list(dict.fromkeys(name for result in found.tasks for name in result.tuned))
    return {name: place % len(_COLORS) for place, name in enumerate(names)}


def _draw_best_so_far(
    axes: Axes, result: TaskResult, places: dict[str, int], objective: str
) -> None:
    """Expected best against the number of trials of the first round."""
    for name, tuned in result.tuned.items():
        values = best_so_far([t for t in tuned.trials if t.round == 0], objective)
        shown = [_shown(value, objective) for value in values]
        axes.plot(range(1, len(shown) + 1), shown, color=_COLORS[places[name]], label=name)
    axes.set_xlabel("trials", fontsize=8)
    axes.set_ylabel(f"expected best validation {objective}", fontsize=8)
    if objective == "loss":
        _losses(axes)


def _draw_rates(axes: Axes, result: TaskResult, places: dict[str, int], objective: str) -> None:
    """Score against learning rate: every trial as a dot, the curve about the best as a line."""
    for name, tuned in result.tuned.items():
        color, mark = _COLORS[places[name]], _MARKS[places[name]]
        dots = _points(tuned.trials, objective)
        axes.scatter(*dots, s=8, color=color, marker=mark, alpha=0.45, linewidths=0, label=name)
        if tuned.sensitivity:
            axes.plot(*_points(tuned.sensitivity, objective), color=color, linewidth=1.2)
    axes.set_xscale("log")
    if objective == "loss":
        _losses(axes)
    axes.set_xlabel("learning rate", fontsize=8)
    axes.set_ylabel(f"validation {objective}", fontsize=8)


def _points(trials: Sequence[Trial], objective: str) -> tuple[list[float], list[float]]:
    pairs = [(dict(t.setting).get("lr", math.nan), score(t.outcomes, objective)) for t in trials]
    pairs = sorted(pair for pair in pairs if math.isfinite(pair[1]))
    return [x for x, _ in pairs], [_shown(y, objective) for _, y in pairs]


def _draw_curves(axes: Axes, result: TaskResult, places: dict[str, int], objective: str) -> None:
    """Validation loss over the steps: geometric mean over seeds, and its interval as a band."""
    for name, tuned in result.tuned.items():
        steps, rows = _common_curve(tuned.finals)
        if not steps:
            continue
        intervals = [paired_interval(column) for column in zip(*rows, strict=True)]
        color = _COLORS[places[name]]
        axes.plot(steps, [math.exp(i.mean) for i in intervals], color=color, label=name)
        if len(rows) > 1:
            low, high = ([math.exp(getattr(i, e)) for i in intervals] for e in ("low", "high"))
            axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    if result.target is not None:
        axes.axhline(result.target, color="0.4", linewidth=0.7, linestyle=":")
    _losses(axes)
    axes.set_xlabel("step", fontsize=8)
    axes.set_ylabel("validation loss", fontsize=8)


def _common_curve(finals: Sequence[Outcome]) -> tuple[list[float], list[list[float]]]:
    curves = [o.curve for o in finals if o.curve and not o.diverged]
    if not curves:
        return [], []
    return [p[0] for p in curves[0]], [[log_loss(p[1]) for p in curve] for curve in curves]


def _differences(found: Found) -> Figure:
    """Change of the test loss against the baseline, one line a task and optimizer."""
    pairs = compare_pairs(found)
    figure, axes = _figure(1, 1)
    figure.set_size_inches(6.5, 1.0 + 0.24 * len(pairs))
    panel, places = axes[0, 0], _places(found)
    for height, pair in enumerate(pairs):
        interval = pair.test_loss
        ends = [math.exp(min(x, 5.0)) - 1 for x in (interval.mean, interval.low, interval.high)]
        mean, low, high = (100 * x for x in ends)
        if not math.isfinite(interval.mean):
            continue
        color = _COLORS[places[pair.recipe]]
        panel.errorbar(mean, height, xerr=[[mean - low], [high - mean]], color=color,
                       marker=_MARKS[places[pair.recipe]], markersize=4, capsize=2)  # fmt: skip
    panel.axvline(0, color="0.3", linewidth=0.8)
    panel.set_yticks(range(len(pairs)), [f"{p.task}: {p.recipe}" for p in pairs], fontsize=7)
    panel.invert_yaxis()
    panel.tick_params(axis="x", labelsize=7)
    panel.grid(axis="x", alpha=0.25, linewidth=0.5)
    panel.set_xlabel(f"test loss against {found.baseline}, percent (95 % interval)", fontsize=8)
    return figure


def _maps(result: TaskResult) -> Figure:
    """Learning rate times decay, one panel an optimizer, all in one scale from the best."""
    shown = [tuned for tuned in result.tuned.values() if tuned.heat_map]
    figure, axes = _figure(1, len(shown))
    image = None
    for panel, tuned in zip(axes.flat, shown, strict=True):
        image = _draw_map(panel, tuned)
    if image is not None:
        bar = figure.colorbar(image, ax=axes.ravel().tolist(), shrink=0.85)
        bar.set_label("validation loss over the best of the map", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return figure


def _draw_map(axes: Axes, tuned: Tuned) -> AxesImage:
    points = {}
    for trial in tuned.heat_map:
        values = dict(trial.setting)
        points[values["lr"], values.get("weight_decay", 0.0)] = score(trial.outcomes, "loss")
    rates, decays = (sorted({key[i] for key in points}) for i in (0, 1))
    grid = np.array([[points[rate, decay] for rate in rates] for decay in decays])
    grid = np.exp(grid - grid.min())
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


def _numeric_axis(found: Found) -> str:
    """The one axis of a sweep that is a number and has at least three values; or nothing."""
    values: dict[str, set[float]] = {}
    for result in found.tasks:
        for name, value in result.variant.axes.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, set()).add(value)
    return next((name for name, of in values.items() if len(of) > 2), "")


def _axis(found: Found, axis: str) -> Figure:
    """Test loss of the tuned optimizers against the axis, a panel for each other point."""
    groups: dict[str, list[TaskResult]] = {}
    for result in found.tasks:
        others = {k: v for k, v in result.variant.axes.items() if k != axis}
        told = ", ".join(f"{k}={v}" for k, v in others.items())
        groups.setdefault(f"{result.variant.task.name} {told}".strip(), []).append(result)
    figure, axes = _figure(1, len(groups))
    for panel, (title, results) in zip(axes.flat, groups.items(), strict=True):
        _draw_axis(panel, results, axis, _places(found))
        panel.set_title(title, fontsize=8)
    _legend(figure, axes)
    return figure


def _draw_axis(
    axes: Axes, results: Sequence[TaskResult], axis: str, places: dict[str, int]
) -> None:
    for name, place in places.items():
        points = []
        for result in results:
            finals = result.tuned[name].finals if name in result.tuned else ()
            losses = [log_loss(o.test_loss) for o in finals if not o.diverged]
            if losses:
                points.append((float(result.variant.axes[axis]), paired_interval(losses)))
        if not points:
            continue
        xs, means = [x for x, _ in points], [math.exp(i.mean) for _, i in points]
        ends = [(math.exp(i.low), math.exp(min(i.high, 700))) for _, i in points]
        errors = [[m - e[0] for m, e in zip(means, ends, strict=True)],
                  [e[1] - m for m, e in zip(means, ends, strict=True)]]  # fmt: skip
        axes.errorbar(xs, means, yerr=errors, color=_COLORS[place], marker=_MARKS[place],
                      markersize=4, capsize=2, linewidth=1.2, label=name)  # fmt: skip
    axes.set_xscale("log", base=2)
    _losses(axes)
    axes.set_xlabel(axis.replace("_", " "), fontsize=8)
    axes.set_ylabel("test loss", fontsize=8)
    axes.tick_params(which="both", labelsize=7)
    axes.grid(alpha=0.25, linewidth=0.5)


def _profiles(found: Found) -> Figure:
    """Performance profiles of the second ruleset."""
    figure, axes = _figure(1, 1)
    panel, places = axes[0, 0], _places(found)
    scores = score_found(found)
    for name, points in (scores.profiles if scores else {}).items():
        panel.step(
            *zip(*points, strict=True), where="post", color=_COLORS[places[name]], label=name
        )
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel("time to target over the fastest", fontsize=8)
    panel.set_ylabel("share of tasks", fontsize=8)
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=7)
    return figure


def _losses(axes: Axes) -> None:
    """A logarithmic axis with plain numbers, between the powers of ten only where they are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    few = high < 30 * low
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if few else NullFormatter())


def _shown(value: float, objective: str) -> float:
    return math.exp(value) if objective == "loss" else -value


def _file(label: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in label).strip("-")
