"""What the figures of a comparison share: its rows by task and optimizer, and its axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optforge.comparison import Findings
from optforge.comparison.result import TunedSetting
from optforge.report.pages.blocks import Figure
from optforge.report.pages.figures import (
    Point,
    Spec,
    any_of,
    encode,
    full_width_plot,
    one_of,
    thinned,
)

Rows = list[dict[str, Any]]
_ROWS = 4000  # of a figure, about 0.4 MB
_LEAST = 8  # of an optimizer on a task, however many there are


def by_task(
    name: str, title: str, caption: str, layers: Sequence[Mapping[str, Any]], rows: Rows
) -> Figure | None:
    """Return a figure of one task at a time, of all optimizers or one; None without data."""
    rows = [row for row in rows if all(map(_is_shown, row.values()))]
    if not rows:
        return None
    control, chosen = one_of("task", distinct(rows, "task"))
    other, is_of = any_of("optimizer", distinct(rows, "optimizer"))
    shown = {"params": [control, other], "transform": [chosen, is_of], "layer": list(layers)}
    spec = {**full_width_plot(240), **shown}
    return Figure(name, title, caption, spec, rows)


def _is_shown(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def each_tuned(findings: Findings) -> Iterator[tuple[str, str, TunedSetting]]:
    """Yield task, optimizer and result, for each optimizer on each complete task."""
    for result in findings.tasks:
        for name, tuned in result.tuned.items():
            yield result.variant.label, name, tuned


def of_each(findings: Findings, points: Sequence[Point]) -> Sequence[Point]:
    """Return what a figure shows of one optimizer on one task; of very many, evenly spaced ones."""
    series = sum(len(result.tuned) for result in findings.tasks)
    return thinned(points, max(_LEAST, _ROWS // max(series, 1)))


def distinct(rows: Iterable[Mapping[str, Any]], column: str) -> list[str]:
    """Return the values of a column in the order in which they first appear."""
    return list(dict.fromkeys(row[column] for row in rows))


def losses_axis(field: str, title: str) -> Spec:
    """Return the encoding of a column of losses, on a logarithmic axis."""
    return encode(field, "quantitative", title, scale={"type": "log", "nice": False})


def score_axis(objective: str, field: str) -> Spec:
    """Return the encoding of a column of scores: losses, or metrics of which higher is better."""
    title = f"validation {objective}"
    if objective == "loss":
        return losses_axis(field, title)
    return encode(field, "quantitative", title, scale={"zero": False})
