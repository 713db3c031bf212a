"""The style of comparison figures: a color, a mark and a line for each optimizer, axes."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optforge.comparison import Findings

if TYPE_CHECKING:  # matplotlib is slow to import and only needed when something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's bright scheme, told apart by most colour-blind eyes and in grey, and four more.
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#222255",
           "#ee7733", "#009988", "#885522", "#000000")  # fmt: skip
_MARKS = "osD^vP*X<>hd8"  # 13: with 12 colours no pair comes twice among 156
_LINES = ("-", "--", "-.", ":")
_OF_A_LINE = 6  # optimizers that share a kind of line, so that colours alone never decide for all
_WIDTH, _HEIGHT = 3.6, 2.8  # inches, of one panel
_DPI = 300


@dataclass(frozen=True)
class Look:
    """How an optimizer is drawn in every figure of a comparison.

    Args:
        color: Color in hexadecimal.
        mark: Marker of single points.
        line: Line style.
    """

    color: str
    mark: str
    line: str


def looks(findings: Findings) -> dict[str, Look]:
    """Return a look for each optimizer; up to 24 of them are all distinct in lines and in dots."""
    names = dict.fromkeys(name for result in findings.tasks for name in result.tuned)
    return {name: _look(place) for place, name in enumerate(names)}


def _look(place: int) -> Look:
    line = _LINES[place // _OF_A_LINE % len(_LINES)]
    return Look(_COLORS[place % len(_COLORS)], _MARKS[place % len(_MARKS)], line)


def new_figure(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Return a figure and its panels [rows, columns], without any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG at the resolution that journals require."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=_DPI)
    return out.getvalue()


def one_legend(figure: Figure, axes: np.ndarray) -> None:
    """Draw one legend for all panels below them."""
    handles = {}
    for panel in axes.flat:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        entry = 0.6 + 0.055 * max(map(len, handles))  # inches: a piece of line and 7 point letters
        columns = max(1, min(6, int(figure.get_figwidth() / entry)))
        further = math.ceil(len(handles) / columns) - 1  # rows, which panels shall not pay for
        figure.set_figheight(figure.get_figheight() + 0.16 * further)
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=columns,
            fontsize=7,
        )


def plain_panel(panel: Axes) -> None:
    """Set small numbers and a pale grid."""
    panel.tick_params(which="both", labelsize=7)
    panel.grid(alpha=0.25, linewidth=0.5)


def losses_axis(axes: Axes) -> None:
    """Set a logarithmic axis with plain numbers, with more ticks if it spans few powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    few = high < 30 * low
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if few else NullFormatter())


def exponential(x: float) -> float:
    """Return the exponential of a log loss, however large it is.

    Example:
        >>> exponential(0.0), exponential(math.inf) > 1e300
        (1.0, True)
    """
    return math.exp(min(x, 700.0))
