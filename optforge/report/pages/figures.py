"""Vega-Lite specifications that several pages share: colors, axes, points with intervals.

Colors are those of Okabe and Ito, which color-blind readers tell apart; shapes differ as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a8a", "#b8a900")
GREY = "#8a8a8a"
_SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")


Spec = dict[str, Any]
_ROW = 18  # pixels
_COLUMNS = "width < 400 ? 1 : width < 700 ? 2 : 3"  # of a legend, by the width of the plot
_LEGEND: Spec = {"orient": "bottom", "columns": {"expr": _COLUMNS}, "symbolOpacity": 1}


def encode(field: str, kind: str, title: str = "", **more: Any) -> Spec:
    """Return an encoding of a column.

    Args:
        field: Name of the column.
        kind: ``quantitative``, ``nominal`` or ``ordinal``.
        title: Title of the axis or legend.
        more: Further properties.

    Example:
        >>> encode("x", "nominal")
        {'field': 'x', 'type': 'nominal', 'title': ''}
    """
    return {"field": field, "type": kind, "title": title, **more}


def named_colors(field: str, names: Sequence[str], title: str = "") -> Spec:
    """Return the encoding of a column of names as colors, in the order of the names.

    Args:
        field: Name of the column.
        names: The names; colors repeat after the eighth.
        title: Title of the legend.
    """
    colors = [COLORS[number % len(COLORS)] for number in range(len(names))]
    scale = {"domain": list(names), "range": colors}
    return encode(field, "nominal", title, scale=scale, legend=_LEGEND)


def named_shapes(field: str, names: Sequence[str]) -> Spec:
    """Return the encoding of a column of names as shapes, to go with their colors."""
    shapes = [_SHAPES[number % len(_SHAPES)] for number in range(len(names))]
    return encode(field, "nominal", scale={"domain": list(names), "range": shapes}, legend=_LEGEND)


def tooltip(*columns: str, **titled: str) -> list[Spec]:
    """Return the tooltip of a mark: the columns, under their names or under given titles."""
    pairs = {**{column: column for column in columns}, **titled}
    return [{"field": field, "title": title} for field, title in pairs.items()]


def layer(series: str, mark: str, encoding: Mapping[str, Any], **more: Any) -> Spec:
    """Return a layer that draws the rows of one series, cut off at the edges of the plot.

    Args:
        series: Value of the column ``series``.
        mark: Kind of the mark.
        encoding: Its encoding.
        more: Further properties of the mark.
    """
    return {
        "transform": [{"filter": {"field": "series", "equal": series}}],
        "mark": {"type": mark, "clip": True, **more},
        "encoding": dict(encoding),
    }


def zero_line(axis: str) -> Spec:
    """Return a layer with a dashed line at zero of an axis."""
    mark = {"type": "rule", "strokeDash": [4, 3]}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": {axis: {"datum": 0}}}


def full_width(height: int) -> Spec:
    """Return the size of a figure that is as wide as the page."""
    return {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
    }


def full_width_rows(count: int) -> Spec:
    """Return the size of a figure as wide as the page, with a height for each row of names."""
    autosize = {"type": "fit-x", "contains": "padding"}
    return {"width": "container", "height": _ROW * max(1, count), "autosize": autosize}


def forest(
    x_title: str, names: Sequence[str], choices: Mapping[str, Sequence[str]], count: int
) -> Spec:
    """Return a forest plot: a point and its interval a row, a line at zero, filters below.

    The data has the columns ``row``, ``name``, ``mean``, ``low``, ``high`` and ``words``, and one
    for each filter.

    Args:
        x_title: Title of the horizontal axis.
        names: Values of ``name``, one color each.
        choices: Values of each column that the reader may filter by.
        count: Number of rows.
    """
    y = encode("row", "nominal", sort=None, axis={"labelLimit": 320})
    shared = {"y": y, "tooltip": tooltip("words", "row")}
    color = named_colors("name", names)
    x = encode("low", "quantitative", x_title)
    pairs = [any_of(column, values) for column, values in choices.items()]
    return {
        **full_width_rows(count),
        "params": [control for control, _ in pairs],
        "transform": [chosen for _, chosen in pairs],
        "layer": [
            zero_line("x"),
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {**shared, "x": x, "x2": {"field": "high"}, "color": color},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    **shared,
                    "x": encode("mean", "quantitative", x_title),
                    "color": color,
                    "shape": named_shapes("name", names),
                },
            },
        ],
    }  # fmt: skip


def any_of(column: str, values: Sequence[str]) -> tuple[Spec, Spec]:
    """Return a control that shows all values of a column or one, and the transformation for it.

    Args:
        column: Name of the column.
        values: Its values.
    """
    label = "optimizer" if column == "name" else column
    bind = {"input": "select", "options": ["all", *values], "name": f"{label}: "}
    control = {"name": _param(column), "value": "all", "bind": bind}
    is_chosen = f"{_param(column)} == 'all' || datum['{column}'] == {_param(column)}"
    return control, {"filter": is_chosen}


def one_of(column: str, values: Sequence[str]) -> tuple[Spec, Spec]:
    """Return a control that chooses one value of a column, and the transformation that obeys it.

    Args:
        column: Name of the column.
        values: Its values; the first is chosen until the reader chooses another.
    """
    bind = {"input": "select", "options": list(values), "name": f"{column}: "}
    control = {"name": _param(column), "value": values[0], "bind": bind}
    return control, {"filter": f"datum['{column}'] == {_param(column)}"}


def _param(column: str) -> str:
    return f"chosen_{column}"
