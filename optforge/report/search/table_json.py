"""The table of a search as JSON, and read back from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy

from optforge.assessment.table import Row, Table
from optforge.errors import RunError
from optforge.report.json_values import plain
from optforge.statistics import mean_interval_over_tasks, paired_interval
from optforge.tuning import trainee_from_json, trainee_json


def table_json(table: Table) -> dict[str, Any]:
    """Return a table as JSON-serializable values; numbers that are not finite become None."""
    return plain(
        {
            "reference": table.rows[0].name,
            "proxies": table.proxies,
            "held_out": table.held_out,
            "repeats": table.repeats,
            "rows": [_row_json(row) for row in table.rows],
            "notes": table.notes,
        }
    )


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "proxies": row.proxies,
        "tasks": row.tasks,
        "state_bytes_per_parameter": row.state_bytes,
        "step_milliseconds_per_million_parameters": 1e3 * row.step_seconds,
        "trials": row.trials,
        "rules": {task: trainee_json(trainee) for task, trainee in row.trainees.items()},
        "log_test_losses": row.logs,
    }


def table_from_json(values: Mapping[str, Any]) -> Table:
    """Read what :func:`table_json` returned; intervals are recomputed from the losses.

    Raises:
        RunError: If it was written by a version that did not store rules with their schedules.
    """
    proxies, held_out = tuple(values["proxies"]), tuple(values["held_out"])
    logs = [
        {
            task: numpy.array([math.inf if v is None else v for v in losses], dtype=float)
            for task, losses in row["log_test_losses"].items()
        }
        for row in values["rows"]
    ]
    if any("rules" not in row for row in values["rows"]):
        raise RunError(
            "the table of this run has no schedules; it was made by another version of optforge: "
            "search again, or explain it with that one"
        )
    rows = []
    for row, losses in zip(values["rows"], logs, strict=True):
        with numpy.errstate(invalid="ignore"):
            differences = {task: losses[task] - logs[0][task] for task in losses}
        rows.append(
            Row(
                row["name"],
                {task: paired_interval(d) for task, d in differences.items()},
                mean_interval_over_tasks([differences[task] for task in proxies]),
                row["state_bytes_per_parameter"],
                row["step_milliseconds_per_million_parameters"] / 1e3,
                row["trials"],
                {task: tuple(v.tolist()) for task, v in losses.items()},
                {task: trainee_from_json(t) for task, t in row["rules"].items()},
            )
        )
    return Table(tuple(rows), proxies, held_out, values["repeats"], tuple(values["notes"]))
