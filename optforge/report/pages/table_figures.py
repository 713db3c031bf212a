"""The figures of the end of a search: its table, the single differences, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optforge.assessment.table import Table
from optforge.report.pages.blocks import Figure
from optforge.report.pages.figures import (
    COLORS,
    Spec,
    encode,
    forest,
    full_width_plot,
    full_width_rows,
    named_colors,
    one_of,
    tooltip,
    zero_line,
)
from optforge.report.words import loss_change


def contenders(table: Table) -> Figure:
    """Return the forest plot of a table: each contender on each task and over the proxies."""
    names = [row.title for row in table.rows[1:]]
    tasks = ["mean over proxies", *table.proxies, *table.held_out]
    rows = []
    for task in tasks:
        label = f"{task} (held out)" if task in table.held_out else task
        for row in table.rows[1:]:
            interval = row.proxies if task == tasks[0] else row.tasks[task]
            mean, low, high = (
                100 * math.expm1(min(x, 5.0)) for x in (interval.mean, interval.low, interval.high)
            )
            rows.append(
                {"task": label, "name": row.title, "row": f"{label}: {row.title}", "mean": mean,
                 "low": low, "high": high, "words": loss_change(interval)}
            )  # fmt: skip
    reference = table.rows[0].title
    labels = list(dict.fromkeys(row["task"] for row in rows))
    title = ["change of test loss", f"against {reference}, %"]
    spec = forest(title, names, {"task": labels}, len(rows))
    return Figure(
        "contenders",
        f"Contenders against {reference}.",
        f"Mean and 95 % interval over {table.repeats} fresh seeds a task; left of the line is "
        "better. An interval that crosses the line shows no difference.",
        spec,
        rows,
    )


def single_differences(table: Table) -> Figure:
    """Return the differences behind a table's intervals: a mark for each fresh seed."""
    reference, others = table.rows[0], table.rows[1:]
    rows = [
        {
            "task": task,
            "name": row.title,
            "seed": number,
            "change": 100 * math.expm1(min(a - b, 5.0)),
        }
        for task in (*table.proxies, *table.held_out)
        for row in others
        for number, (a, b) in enumerate(zip(row.logs[task], reference.logs[task], strict=True))
        if math.isfinite(a - b)
    ]
    names = [row.title for row in others]
    control, chosen = one_of("task", [*table.proxies, *table.held_out])
    title = ["change of test loss", f"against {reference.title}, %"]
    encoding = {
        "y": encode("name", "nominal", sort=names),
        "x": encode("change", "quantitative", title),
        "color": {**named_colors("name", names), "legend": None},
        "tooltip": tooltip("name", "seed", "change"),
    }
    tick = {"type": "tick", "thickness": 2, "opacity": 0.7}
    spec = {
        **full_width_rows(len(names)),
        "params": [control],
        "transform": [chosen],
        "layer": [zero_line("x"), {"mark": tick, "encoding": encoding}],
    }
    caption = (
        "A mark a fresh seed, on which both began with the same weights and saw the same batches."
    )
    return Figure("seeds", "The single differences.", caption, spec, rows)


def pareto(finalists: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the figure of the Pareto front; a click on a point opens its program.

    Args:
        finalists: The finalists that no other dominates, as the table of a run stores them, each
            with a fitness.
    """
    rows = [
        {"fitness": f["fitness"], "low": f.get("low"), "high": f.get("high"),
         "seeds": f["repeats"], "state bytes": f["state_bytes"],
         "statements": f["live_statements"], "step": 1e3 * f["step_seconds"],
         "opens": f"pareto-{number}"}
        for number, f in enumerate(finalists)
    ]  # fmt: skip
    caption = (
        "No other finalist is better in all four: fitness (log of loss over tuned AdamW's, lower "
        "is better), state, statements, step. Lines: 95 % intervals over fresh seeds. A click "
        "opens the program below."
    )
    sizes = sorted({row["statements"] for row in rows})[:: 1 + len(rows) // 5]
    spec = _pareto_spec(sizes, any(row["low"] is not None for row in rows))
    return Figure("pareto", "Pareto front of the finalists.", caption, spec, rows)


def _pareto_spec(sizes: Sequence[int], has_intervals: bool) -> Spec:
    below = {"orient": "bottom"}
    y = encode("fitness", "quantitative", "fitness on fresh seeds", scale={"zero": False})
    shared = {
        "x": encode("step", "quantitative", "step, ms per million parameters",
                    scale={"type": "log", "nice": False, "padding": 24}),
        "color": encode("state bytes", "ordinal", "state bytes a parameter",
                        scale={"range": list(COLORS)}, legend=below),
    }  # fmt: skip
    columns = ("fitness", "low", "high", "seeds", "state bytes", "statements")
    point = {
        **shared, "y": y,
        "size": encode("statements", "quantitative", "statements", scale={"range": [60, 400]},
                       legend={**below, "values": sizes}),
        "tooltip": tooltip(*columns, step="step, ms"),
    }  # fmt: skip
    ends = {**shared, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    mark = {"type": "point", "filled": True, "opacity": 0.9, "cursor": "pointer"}
    layers = [{"mark": mark, "encoding": point}]
    if has_intervals:  # without one, a layer of nothing would spoil the axes
        layers.insert(0, {"mark": {"type": "rule", "opacity": 0.5}, "encoding": ends})
    return {**full_width_plot(240), "layer": layers}
