"""The fair table: discovered rule and tuned baselines on data and seeds no search has seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy

from optforge.analysis import cost
from optforge.assessment.speed import step_seconds
from optforge.jobs import Trainer
from optforge.language import Program, Statement
from optforge.statistics import Interval, mean_interval_over_tasks, paired_interval
from optforge.training import Trainee
from optforge.tuning import FULL, LEAST_TUNED, TITLES, Effort

LEAST_REPEATS = 8  # fresh seeds of each task, where all is tuned lightly
_SCALES = tuple(2.0 ** (exponent / 2) for exponent in range(-6, 7))
_SCALE_REPEATS = 3
_TUNED = re.compile(rf"\btuned (?={'|'.join(TITLES.values())})")


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Args:
        name: Name that is printed.
        trainees: Its rule and schedule on each task, either the same everywhere or tuned for each.
        trials: The tuning it received, in words.
        rescale: Whether its peak learning rate is first fitted to the held-out task.
    """

    name: str
    trainees: Mapping[str, Trainee]
    trials: str
    rescale: bool = False


@dataclass(frozen=True)
class Row:
    """Results of one contender: log ratios of test loss to the first contender's, paired by seed.

    Args:
        name: Name of the contender.
        tasks: Mean on each task with its interval.
        proxies: Mean over the proxy tasks with its interval.
        state_bytes: Bytes of state per parameter, the largest over tasks.
        step_seconds: Seconds of one step on a million parameters.
        trials: The tuning it received, in words.
        logs: Log test losses on each task, one per seed.
        trainees: The measured rule and schedule on each task.
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
        """Whether its number of trials is too small to be called tuned."""
        number = re.match(r"\d+", self.trials.split(", ")[-1])
        return number is not None and int(number[0]) < LEAST_TUNED

    @property
    def title(self) -> str:
        """The printed name."""
        return titled(self.name, self.is_light)


def titled(text: str, is_light: bool) -> str:
    """Return a text with ``tuned`` replaced by ``lightly tuned`` before names of optimizers.

    Example:
        >>> titled("-3 % against tuned AdamW", is_light=True)
        '-3 % against lightly tuned AdamW'
    """
    return _TUNED.sub("lightly tuned ", text) if is_light else text


@dataclass(frozen=True)
class Table:
    """Rows of results, the first of which is the reference, and their differences.

    Args:
        rows: The rows, the reference first.
        proxies: Names of the tasks that the search scored on.
        held_out: Names of the tasks that it did not score on.
        repeats: Number of fresh seeds of each task.
        notes: Notes for the reader.
    """

    rows: tuple[Row, ...]
    proxies: tuple[str, ...]
    held_out: tuple[str, ...]
    repeats: int
    notes: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """Return the row of a contender."""
        return next(row for row in self.rows if row.name == name)

    def has(self, name: str) -> bool:
        """Return whether there is a row of this name."""
        return any(row.name == name for row in self.rows)

    def difference(self, name: str, other: str) -> Interval:
        """Return the paired difference of two contenders in the mean over the proxy tasks."""
        return mean_interval_over_tasks(
            [_minus(self.row(name), self.row(other), task) for task in self.proxies]
        )

    def difference_on(self, task: str, name: str, other: str) -> Interval:
        """Return the paired difference of two contenders on one task."""
        return paired_interval(_minus(self.row(name), self.row(other), task))


def build_table(
    trainer: Trainer,
    contenders: Sequence[Contender],
    proxies: Sequence[str],
    held_out: Sequence[str],
    notes: Sequence[str] = (),
    effort: Effort = FULL,
) -> Table:
    """Train every contender on fresh seeds and measure it on test data.

    Args:
        trainer: Trains the contenders.
        contenders: The contenders, the reference first.
        proxies: Tasks that the search scored on.
        held_out: Tasks that it did not score on.
        notes: Notes of the table.
        effort: How much everything is tuned; with less, there are fewer seeds.
    """
    repeats, tasks = effort.fresh(least=LEAST_REPEATS), [*proxies, *held_out]
    fitted = [dict(contender.trainees) for contender in contenders]
    for task in held_out:
        _rescale(trainer, contenders, fitted, task, effort)
    fresh = {task: trainer.seeds(task, "report", repeats) for task in tasks}
    programs = {task: [rules[task] for rules in fitted] for task in tasks}
    logs = trainer.losses(programs, fresh, "test", _WHAT)
    rows = [
        _row(contender, fitted[number], number, logs, proxies, tasks)
        for number, contender in enumerate(contenders)
    ]
    return Table(tuple(rows), tuple(proxies), tuple(held_out), repeats, tuple(notes))


_WHAT = "Measuring the table on test data"


def rates(effort: Effort) -> tuple[float, ...]:
    """Return the learning rates for a held-out task, as factors, of a row with one setting.

    Example:
        >>> rates(Effort(4))
        (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    """
    return _SCALES[:: 2 if effort.is_light else 1]


def scaled(program: Program, factor: float) -> Program:
    """Multiply the updates of a rule, which is the same as another peak learning rate.

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
    effort: Effort,
) -> None:
    """Fit the peak learning rate of untuned contenders to a held-out task, on validation data."""
    chosen, scales = [number for number, c in enumerate(contenders) if c.rescale], rates(effort)
    if not chosen:
        return
    fresh = {task: trainer.seeds(task, "rescale", effort.scaled(_SCALE_REPEATS))}
    programs = [_scaled(fitted[n][task], factor) for n in chosen for factor in scales]
    logs = trainer.losses({task: programs}, fresh, "validation", _WHAT)[task]
    means = logs.mean(1).reshape(len(chosen), len(scales))
    for number, best in zip(chosen, means.argmin(1), strict=True):
        fitted[number][task] = _scaled(fitted[number][task], scales[int(best)])


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
