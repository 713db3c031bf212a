"""What a search is built from: settings, tasks, tuned baselines and their losses."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy
import torch

from optforge.errors import RunError
from optforge.evolution.settings import Settings
from optforge.fitness import Stage, plan_stages, seeds
from optforge.tasks import Schedule, Task
from optforge.tuning import FULL, Baseline, Effort

Baselines = Mapping[str, Mapping[str, Baseline]]


@dataclass(frozen=True)
class SearchPlan:
    """All that a run is built from; the settings and losses are stored, the rest is rebuilt.

    Args:
        settings: Of the search.
        tasks: The proxy tasks, in order.
        held_out: Tasks that are never scored on.
        baselines: For each task and optimizer the tuned setting; AdamW's is always there, those
            of others that are not shipped are tuned at the end.
        losses: For each task the baseline's log losses on the seeds of ``search`` and ``rescore``.
        schedules: For each task the schedule of the tuned AdamW, if it has one of its own. All
            candidates train under it, so that a statement which gives the rate another course
            gains nothing.
        tuning: How long own tasks are tuned; others have more trials.
    """

    settings: Settings
    tasks: tuple[Task, ...]
    held_out: tuple[Task, ...]
    baselines: Baselines
    losses: Mapping[str, Mapping[str, Sequence[float]]]
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    tuning: Effort = FULL

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The order of the judgement."""
        return plan_stages(self.tasks, self.settings.repeats, self.settings.confirm)

    @property
    def effort(self) -> Effort:
        """How long everything is tuned: as long as the tuned AdamW was."""
        trials = min(by_name["adamw"].trials for by_name in self.baselines.values())
        return replace(self.tuning, trials=trials)

    def seeds(self, purpose: str, count: int) -> dict[str, tuple[int, ...]]:
        """Return the seeds of each proxy task for one purpose."""
        return {t.name: seeds(self.settings.seed, t.name, purpose, count) for t in self.tasks}

    def reference(self, purpose: str) -> dict[str, Sequence[float]]:
        """Return the baseline's log losses on each task for one purpose."""
        return {task: losses[purpose] for task, losses in self.losses.items()}

    def slacks(self) -> tuple[float, ...]:
        """Return what is added to the hurdle at each position of a trace.

        It is larger where less is known: after a share q of all seeds of all tasks it is ``1 / q``
        times that of the full verdict. With the same slack everywhere one seed of the first task
        decides nearly alone, and the search finds what is lucky there; much more at the end, and
        full verdicts on programs that are merely like the best take all the time. Within a run the
        slack is that of the first task and more: a rule that decays its rate later is behind until
        the end, and then ahead.
        """
        stages, values, done = self.stages, [], 0
        total = sum(len(stage.seeds) for stage in stages)
        slack = self.settings.slack * total
        for stage in stages:
            done += len(stage.seeds)
            marks = len(stage.checkpoints)
            values += [slack * (1 + (marks - mark) / 2) for mark in range(marks)]
            values.append(slack / done)
        return tuple(values)

    def stored(self) -> dict[str, Any]:
        """Return the plan as JSON-serializable values, for the journal."""
        return {
            "search": self.settings.stored(),
            "held_out": [task.name for task in self.held_out],
            "held_out_hashes": [task.hash for task in self.held_out],
            "baselines": {
                task: {
                    name: dict(vars(baseline), parameters=dict(baseline.parameters))
                    for name, baseline in by_name.items()
                }
                for task, by_name in self.baselines.items()
            },
            "losses": {
                task: {purpose: list(values) for purpose, values in by_purpose.items()}
                for task, by_purpose in self.losses.items()
            },
            "tuning": asdict(self.tuning),
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Return what a result depends on besides the settings of the run."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def read_plan(
    stored: Mapping[str, Any], tasks: Sequence[Task], held_out: Sequence[Task]
) -> SearchPlan:
    """Rebuild the plan of a stored run on the same tasks.

    Raises:
        RunError: If a task is not the one that the run was made with.
    """
    settings = Settings.read(stored["search"])
    hashes = dict(zip(settings.tasks, settings.hashes, strict=True))
    hashes |= dict(zip(stored["held_out"], stored.get("held_out_hashes", ()), strict=False))
    for task in (*tasks, *held_out):
        _check_unchanged(task, hashes.get(task.name, task.hash))
    baselines = _read_baselines(stored)
    return SearchPlan(
        settings,
        tuple(tasks),
        tuple(held_out),
        baselines,
        stored["losses"],
        schedules_of(baselines),
        Effort(**stored["tuning"]) if "tuning" in stored else FULL,
    )


def read_schedules(stored: Mapping[str, Any]) -> dict[str, Schedule]:
    """Return the schedules that a stored run trains its candidates under."""
    return schedules_of(_read_baselines(stored))


def schedules_of(baselines: Baselines) -> dict[str, Schedule]:
    """Return the schedule of the tuned AdamW of each task that has one of its own."""
    schedules = {
        task: by_name["adamw"].trainee.schedule
        for task, by_name in baselines.items()
        if "adamw" in by_name
    }
    return {task: schedule for task, schedule in schedules.items() if schedule is not None}


def _read_baselines(stored: Mapping[str, Any]) -> dict[str, dict[str, Baseline]]:
    return {
        task: {name: Baseline(**values) for name, values in by_name.items()}
        for task, by_name in stored.get("baselines", {}).items()
    }


def _check_unchanged(task: Task, stored_hash: str) -> None:
    if task.hash != stored_hash:
        raise RunError(
            f"task {task.name!r} is not what it was when the run began (hash {task.hash}, then "
            f"{stored_hash}): its files, data or settings changed, or the run began with another "
            "version of Python or with an earlier optforge, which knew tasks of your own by other "
            "digits; begin a new run"
        )
