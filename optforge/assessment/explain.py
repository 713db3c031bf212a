"""Whether tuning one more thing of AdamW would explain what a search found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy

from optforge.assessment.rows import ADAMW, FOUND, STRAIGHT
from optforge.assessment.table import Table
from optforge.evolution.plan import SearchPlan
from optforge.jobs import Trainer
from optforge.statistics import Interval, mean_interval_over_tasks
from optforge.training import Trainee
from optforge.tuning import (
    PLAIN_SHAPE,
    THINGS,
    Effort,
    Setting,
    losses_by,
    stored,
    thing,
    tune_together,
)

_EVERYTHING = "all of these"


@dataclass(frozen=True)
class Explained:
    """AdamW with one more thing tuned, or another row that may explain the gain.

    Args:
        name: What is tuned besides the learning rate.
        gain: Log ratio of its test loss to that of AdamW with only the learning rate tuned, as a
            mean over the proxy tasks.
        left: Log ratio of the rule's test loss to this row's: what is left of the rule's gain.
        trainees: The rule and schedule trained on each task.
    """

    name: str
    gain: Interval
    left: Interval
    trainees: Mapping[str, Trainee]


@dataclass(frozen=True)
class Explanation:
    """What is left of a rule's gain after tuning each thing that can be tuned by hand.

    Args:
        rows: AdamW with each thing tuned alone, then with all of them tuned.
        whole: The rule's gain over the tuned AdamW of the table.
        straight: The same gain of the rule with its schedule straightened.
        repeats: Number of fresh seeds of each task.
        trials: Number of settings tried for each row on each task.
    """

    rows: tuple[Explained, ...]
    whole: Interval
    straight: Interval | None
    repeats: int
    trials: int

    @property
    def kept(self) -> float:
        """Share of the gain over tuned AdamW that remains against the strongest row."""
        if self.whole.mean >= 0:
            return float("nan")
        return self.nearest.left.mean / self.whole.mean

    @property
    def nearest(self) -> Explained:
        """The row that leaves the least of the rule's gain."""
        return max(self.rows, key=lambda row: row.left.mean)


def explain_shipped(
    plan: SearchPlan, table: Table, trainer: Trainer, what: str = "Explaining the gain"
) -> Explanation | None:
    """Explain a table with the settings shipped for its tasks; None if there are none."""
    known = stored().get("things", {})
    hashes = {name: entry["hash"] for name, entry in stored()["tasks"].items()}
    same = all(hashes.get(task.name) == task.hash for task in plan.tasks)
    if not same or not all(THINGS.keys() <= known.get(t.name, {}).keys() for t in plan.tasks):
        return None
    shipped = {task.name: known[task.name] for task in plan.tasks}
    trainees = {
        name: {
            task: thing(name).build(tuple(settings[name]["parameters"].items()))
            for task, settings in shipped.items()
        }
        for name in THINGS
    }
    trials = min(settings[name]["trials"] for settings in shipped.values() for name in THINGS)
    return _measured(plan, table, trainees, trials, trainer, what)


def explain(plan: SearchPlan, table: Table, trainer: Trainer, effort: Effort) -> Explanation:
    """Tune AdamW with one thing after the other and measure what is left of the rule's gain.

    Args:
        plan: Plan of the run.
        table: Table of the run.
        trainer: Trains the rows.
        effort: How much each thing is tuned on each task.
    """
    names = [task.name for task in plan.tasks]
    jobs = [(name, task) for name in THINGS for task in names]

    def watch(done: int, total: int) -> None:
        trainer.runner.watch("Tuning AdamW, one thing after the other", done, total)

    tuned = tune_together(
        [(thing(name, _known(plan, name, task)), [task]) for name, task in jobs],
        losses_by(trainer, "fit, ", "Training the best settings again"),
        effort,
        watch,
    )
    trainees: dict[str, dict[str, Trainee]] = {name: {} for name in THINGS}
    for (name, task), best in zip(jobs, tuned, strict=True):
        trainees[name][task] = best.trainee
    return _measured(
        plan,
        table,
        trainees,
        effort.trials,
        trainer,
        "Measuring on test data",
    )


def _known(plan: SearchPlan, name: str, task: str) -> tuple[Setting, ...]:
    """Return the first settings to try: with all things at once, the tuned AdamW is among them."""
    if name != _EVERYTHING:
        return ()
    parameters = plan.baselines[task]["adamw"].parameters
    rest = {"clip": 10.0, "eps": 1e-8, "average": 0.001}
    return (tuple(sorted({**dict(PLAIN_SHAPE), **parameters, **rest}.items())),)


def _measured(
    plan: SearchPlan,
    table: Table,
    trainees: Mapping[str, Mapping[str, Trainee]],
    trials: int,
    trainer: Trainer,
    what: str,
) -> Explanation:
    """Train every row on the seeds of the table, so that all differences are paired."""
    tasks = [task.name for task in plan.tasks]
    fresh = {task: trainer.seeds(task, "report", table.repeats) for task in tasks}
    chosen = {task: [trainees[name][task] for name in trainees] for task in tasks}
    logs = trainer.losses(chosen, fresh, "test", what)
    rule = {task: numpy.asarray(table.row(FOUND).logs[task]) for task in tasks}
    plain = {task: logs[task][0] for task in tasks}
    rows = [
        Explained(
            name,
            _difference({task: logs[task][number] for task in tasks}, plain),
            _difference(rule, {task: logs[task][number] for task in tasks}),
            trainees[name],
        )
        for number, name in enumerate(trainees)
    ]
    straight = table.difference(STRAIGHT, ADAMW) if table.has(STRAIGHT) else None
    whole = table.difference(FOUND, ADAMW)
    return Explanation(tuple(rows), whole, straight, table.repeats, trials)


def _difference(ours: Mapping[str, Any], others: Mapping[str, Any]) -> Interval:
    with numpy.errstate(invalid="ignore"):
        return mean_interval_over_tasks([ours[task] - others[task] for task in ours])
