"""The fair table: discovered rule and tuned baselines on data and seeds no search has seen."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy

from optforge.analysis import cost
from optforge.assessment.speed import step_seconds
from optforge.errors import RunError
from optforge.jobs import Trainer
from optforge.language import Program, Statement
from optforge.statistics import Interval, mean_interval_over_tasks, paired_interval
from optforge.training import Trainee
from optforge.tuning import LEAST_TUNED, TITLES, trainee_from_json, trainee_json

REPEATS = 48
_SCALES = tuple(2.0 ** (exponent / 2) for exponent in range(-6, 7))
_SCALE_REPEATS = 3
_TUNED = re.compile(rf"\btuned (?={'|'.join(TITLES.values())})")


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Args:
        name: As printed.
        trainees: Its rule and schedule on each task; the same everywhere, or tuned for each.
        trials: What tuning it got, in words.
        rescale: Whether its peak learning rate is fitted to the held-out task first.
    """

    name: str
    trainees: Mapping[str, Trainee]
    trials: str
    rescale: bool = False


@dataclass(frozen=True)
class Row:
    """Results of one contender: log ratios of test loss to the first contender's, paired by seed.

    Args:
        name: Of the contender.
        tasks: For each task the mean with its interval.
        proxies: The mean over the proxy tasks.
        state_bytes: Per parameter, the largest over tasks.
        step_seconds: One step on a million parameters.
        trials: What tuning it got.
        logs: Log test losses of each task, one for each seed.
        trainees: The rule and schedule on each task, as they were measured.
    """

    name: str
    tasks: Mapping[str, Interval]
    proxies: Interval
    state_bytes: float
    step_seconds: float
    trials: str
    logs: Mapping[str, tuple[float, ...]]
    trainees: Mapping[str, Trainee] = field(default_factory=dict)

    @property
    def is_light(self) -> bool:
        """Whether tuning it got fewer trials than deserve to be called tuned."""
        number = re.match(r"\d+", self.trials.split(", ")[-1])
        return number is not None and int(number[0]) < LEAST_TUNED

    @property
    def title(self) -> str:
        """The name as it is printed."""
        return titled(self.name, self.is_light)


def titled(text: str, is_light: bool) -> str:
    """Return a text with ``lightly tuned`` before names of optimizers in place of ``tuned``.

    Example:
        >>> titled("-3 % against tuned AdamW", is_light=True)
        '-3 % against lightly tuned AdamW'
    """
    return _TUNED.sub("lightly tuned ", text) if is_light else text


@dataclass(frozen=True)
class Table:
    """The rows, the first of which is the reference, and what they say.

    Args:
        rows: Reference first.
        proxies: Names of the tasks that the search scored on.
        held_out: Names of those that it did not.
        repeats: Fresh seeds of each task.
        notes: What a reader must know.
    """

    rows: tuple[Row, ...]
    proxies: tuple[str, ...]
    held_out: tuple[str, ...]
    repeats: int
    notes: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """Give the row of a contender."""
        return next(row for row in self.rows if row.name == name)

    def has(self, name: str) -> bool:
        """Tell whether there is a row of this name."""
        return any(row.name == name for row in self.rows)

    def difference(self, name: str, other: str) -> Interval:
        """Paired difference of two contenders in the mean over the proxy tasks."""
        return mean_interval_over_tasks(
            [_minus(self.row(name), self.row(other), task) for task in self.proxies]
        )

    def difference_on(self, task: str, name: str, other: str) -> Interval:
        """Paired difference of two contenders on one task."""
        return paired_interval(_minus(self.row(name), self.row(other), task))


def build_table(
    trainer: Trainer,
    contenders: Sequence[Contender],
    proxies: Sequence[str],
    held_out: Sequence[str],
    notes: Sequence[str] = (),
) -> Table:
    """Train every contender on fresh seeds and measure it on test data.

    Args:
        trainer: Trains them.
        contenders: The reference first.
        proxies: Tasks that the search scored on.
        held_out: Tasks that it did not.
        notes: Handed on to the table.
    """
    tasks = [*proxies, *held_out]
    fitted = [dict(contender.trainees) for contender in contenders]
    for task in held_out:
        _rescale(trainer, contenders, fitted, task)
    fresh = {task: trainer.seeds(task, "report", REPEATS) for task in tasks}
    programs = {task: [rules[task] for rules in fitted] for task in tasks}
    logs = trainer.losses(programs, fresh, "test", _WHAT)
    rows = [
        _row(contender, fitted[number], number, logs, proxies, tasks)
        for number, contender in enumerate(contenders)
    ]
    return Table(tuple(rows), tuple(proxies), tuple(held_out), REPEATS, tuple(notes))


_WHAT = "Measuring the table on test data"


def scaled(program: Program, factor: float) -> Program:
    """Multiply the updates of a rule: the same as another peak learning rate.

    Example:
        >>> from optforge.language import load_rule
        >>> scaled(load_rule("signum"), 2.0).statements[-1].text
        'update = update * 2.0'
    """
    update = program.outputs[0]
    target = update
    if update in program.outputs[1:]:  # the update is a state as well, which keeps its value
        target = "scaled_" + update
    last = Statement(target, "multiply", (update, factor))
    outputs = (target, *program.outputs[1:])
    return Program(program.parameters, (*program.statements, last), outputs)


def _rescale(
    trainer: Trainer,
    contenders: Sequence[Contender],
    fitted: list[dict[str, Trainee]],
    task: str,
) -> None:
    """Fit the peak learning rate of untuned contenders to a held-out task, on validation data."""
    chosen = [number for number, c in enumerate(contenders) if c.rescale]
    if not chosen:
        return
    fresh = {task: trainer.seeds(task, "rescale", _SCALE_REPEATS)}
    programs = [_scaled(fitted[n][task], factor) for n in chosen for factor in _SCALES]
    logs = trainer.losses({task: programs}, fresh, "validation", _WHAT)[task]
    means = logs.mean(1).reshape(len(chosen), len(_SCALES))
    for number, best in zip(chosen, means.argmin(1), strict=True):
        fitted[number][task] = _scaled(fitted[number][task], _SCALES[int(best)])


def _scaled(trainee: Trainee, factor: float) -> Trainee:
    return replace(trainee, program=scaled(trainee.program, factor))


def _row(
    contender: Contender,
    rules: Mapping[str, Trainee],
    number: int,
    logs: Mapping[str, numpy.ndarray],
    proxies: Sequence[str],
    tasks: Sequence[str],
) -> Row:
    with numpy.errstate(invalid="ignore"):
        differences = {task: logs[task][number] - logs[task][0] for task in tasks}
    return Row(
        contender.name,
        {task: paired_interval(values) for task, values in differences.items()},
        mean_interval_over_tasks([differences[task] for task in proxies]),
        max(cost(rules[task].program).state_bytes for task in tasks),
        step_seconds(rules[proxies[0]].program),
        contender.trials,
        {task: tuple(logs[task][number].tolist()) for task in tasks},
        {task: rules[task] for task in tasks},
    )


def _minus(row: Row, other: Row, task: str) -> list[float]:
    return [a - b for a, b in zip(row.logs[task], other.logs[task], strict=True)]


def interval_json(value: Interval) -> dict[str, float | int | None]:
    """Give an interval as plain values; infinite numbers become None."""
    return {
        "mean": finite(value.mean),
        "low": finite(value.low),
        "high": finite(value.high),
        "p_value": value.p_value,
        "count": value.count,
    }


def table_json(table: Table) -> dict[str, Any]:
    """Give the table as plain values; infinite numbers become None."""

    rows = [
        {
            "name": row.name,
            "proxies": interval_json(row.proxies),
            "tasks": {task: interval_json(value) for task, value in row.tasks.items()},
            "state_bytes_per_parameter": row.state_bytes,
            "step_milliseconds_per_million_parameters": 1e3 * row.step_seconds,
            "trials": row.trials,
            "rules": {task: trainee_json(trainee) for task, trainee in row.trainees.items()},
            "log_test_losses": {
                task: [finite(value) for value in values] for task, values in row.logs.items()
            },
        }
        for row in table.rows
    ]
    return {
        "reference": table.rows[0].name,
        "proxies": list(table.proxies),
        "held_out": list(table.held_out),
        "repeats": table.repeats,
        "rows": rows,
        "notes": list(table.notes),
    }


def table_from_json(values: Mapping[str, Any]) -> Table:
    """Read what :func:`table_json` returned; intervals are computed again from the losses.

    Raises:
        RunError: If it was written by a version that kept no rules with their schedules.
    """
    proxies, held_out = tuple(values["proxies"]), tuple(values["held_out"])
    logs = [
        {
            task: numpy.array([math.inf if v is None else v for v in own], dtype=float)
            for task, own in row["log_test_losses"].items()
        }
        for row in values["rows"]
    ]
    if any("rules" not in row for row in values["rows"]):
        raise RunError(
            "the table of this run has no schedules; it was made by another version of optforge: "
            "search again, or explain it with that one"
        )
    rows = []
    for row, own in zip(values["rows"], logs, strict=True):
        with numpy.errstate(invalid="ignore"):
            differences = {task: own[task] - logs[0][task] for task in own}
        rows.append(
            Row(
                row["name"],
                {task: paired_interval(d) for task, d in differences.items()},
                mean_interval_over_tasks([differences[task] for task in proxies]),
                row["state_bytes_per_parameter"],
                row["step_milliseconds_per_million_parameters"] / 1e3,
                row["trials"],
                {task: tuple(v.tolist()) for task, v in own.items()},
                {task: trainee_from_json(t) for task, t in row["rules"].items()},
            )
        )
    return Table(tuple(rows), proxies, held_out, values["repeats"], tuple(values["notes"]))


def finite(value: float) -> float | None:
    """Give None for what JSON has no word for: infinities and NaN."""
    return value if math.isfinite(value) else None
