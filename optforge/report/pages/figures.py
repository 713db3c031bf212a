"""Vega-Lite specifications that several pages share: colors, axes, points with intervals.

Colors are those of Okabe and Ito, which color-blind readers tell apart; shapes differ as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Point = TypeVar("Point")

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a8a", "#b8a900")
GREY = "#8a8a8a"
_SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")


Spec = dict[str, Any]
_ROW = 18  # pixels
_LABEL = "label of the row"
_DASHES = ([1, 0], [6, 3], [2, 2])
_LETTER, _SYMBOL = 7, 34  # pixels of a legend's entry


def thinned(points: Sequence[Point], most: int) -> Sequence[Point]:
    """Return at most so many points, evenly spaced, the last one among them."""
    every = 1 + len(points) // most
    return points[(len(points) - 1) % every :: every]


def encode(field: str, kind: str, title: str | list[str] = "", **more: Any) -> Spec:
    """Return an encoding of a column.

    Args:
        field: Name of the column.
        kind: ``quantitative``, ``nominal`` or ``ordinal``.
        title: Title of the axis or legend, or its lines.
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
        names: The names; colors repeat after the eighth, and go with shapes or dashes that do not.
        title: Title of the legend.
    """
    return _named(field, names, COLORS, title)


def named_shapes(field: str, names: Sequence[str]) -> Spec:
    """Return the encoding of a column of names as shapes, to go with their colors."""
    return _named(field, names, _SHAPES)


def _named(field: str, names: Sequence[str], range_: Sequence[Any], title: str = "") -> Spec:
    values = [range_[number % len(range_)] for number in range(len(names))]
    scale = {"domain": list(names), "range": values}
    return encode(field, "nominal", title, scale=scale, legend=legend_below(names))


def legend_below(names: Sequence[str]) -> Spec:
    """Return the legend of names, below the plot in as many columns as its width allows."""
    entry = _SYMBOL + _LETTER * max(map(len, names), default=0)
    columns = {"expr": f"max(1, floor(width / {entry}))"}
    return {"orient": "bottom", "columns": columns, "symbolOpacity": 1}


def named_lines(field: str, names: Sequence[str]) -> Spec:
    """Return the encodings of a column of names as colors and dashes of lines, with one legend."""
    legend = {**legend_below(names), "symbolType": "stroke", "symbolSize": 300,
              "symbolStrokeWidth": 2}  # fmt: skip
    encodings = {"color": COLORS, "strokeDash": _DASHES}
    return {
        channel: _named(field, names, values) | {"legend": legend}
        for channel, values in encodings.items()
    }


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


def full_width_plot(height: int) -> Spec:
    """Return the size of a figure as wide as the page, with a height for its plot alone.

    It grows by its legend, which is long where the page is narrow.
    """
    autosize = {"type": "fit-x", "contains": "padding"}
    return {"width": "container", "height": height, "autosize": autosize}


def full_width_rows(count: int) -> Spec:
    """Return the size of a figure as wide as the page, with a height for each row of names.

    The page's script keeps it so when a filter leaves fewer rows.
    """
    return {**full_width_plot(_ROW * max(1, count)), "usermeta": {"row": _ROW}}


def forest(
    x_title: Sequence[str],
    names: Sequence[str],
    choices: Mapping[str, Sequence[str]],
    count: int,
    label: str = "name",
) -> Spec:
    """Return a forest plot: a point and its interval a row, a line at zero, filters below.

    The data has the columns ``row``, ``name``, ``mean``, ``low``, ``high`` and ``words``, and one
    for each filter. A row of the plot is called by ``row``, or where all have the same value of
    the first filter, by ``label`` alone.

    Args:
        x_title: Lines of the title of the horizontal axis.
        names: Values of ``name``, one color each.
        choices: Values of each column that the reader may filter by.
        count: Number of rows.
        label: Column with the name of a row beside others of one task. Another one than ``name``
            needs a legend.
    """
    shared = {"y": forest_rows(), "tooltip": tooltip("words", "row")}
    legend = {} if label != "name" else {"legend": None}
    color, shape = (make("name", names) | legend for make in (named_colors, named_shapes))
    x, mean = (encode(end, "quantitative", list(x_title)) for end in ("low", "mean"))
    pairs = [any_of(column, values) for column, values in choices.items()]
    first, values = next(iter(choices.items()))
    is_long = f"{_param(first)} == 'all'" if len(values) > 1 else "false"
    title = {"calculate": f"{is_long} ? datum.row : datum['{label}']", "as": _LABEL}
    return {
        **full_width_rows(count),
        "params": [control for control, _ in pairs],
        "transform": [*(chosen for _, chosen in pairs), title],
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
                    "x": mean,
                    "color": color,
                    "shape": shape,
                },
            },
        ],
    }  # fmt: skip


def forest_rows() -> Spec:
    """Return the encoding of the rows of a forest plot, for a layer that is added to it."""
    return encode(_LABEL, "nominal", sort=None)


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
