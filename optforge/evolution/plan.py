"""The plan of a search: settings, tasks, tuned baselines and their losses."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy
import torch

from optforge.errors import RunError
from optforge.evolution.settings import Settings
from optforge.fitness import Stage, plan_stages, seeds
from optforge.tasks import Schedule, Task
from optforge.tasks.source import library_version
from optforge.tuning import FULL, Baseline, Effort

Baselines = Mapping[str, Mapping[str, Baseline]]


@dataclass(frozen=True)
class SearchPlan:
    """All inputs of a run; settings and losses are stored, the rest is rebuilt.

    Args:
        settings: Settings of the search.
        tasks: The proxy tasks, in order.
        held_out: Tasks that are never used for scoring.
        baselines: The tuned setting of each optimizer on each task. AdamW's is always there; others
            that are not shipped are tuned at the end.
        losses: The baseline's log losses on each task, on the seeds of ``search`` and ``rescore``.
        schedules: The schedule of the tuned AdamW on each task where it has one of its own. All
            candidates train under it, so that a statement which reshapes the schedule gains
            nothing.
        tuning: How much the user's own tasks are tuned; shipped tasks have more trials.
        validation: Larger tasks on which incumbents are scored while the search goes on.
    """

    settings: Settings
    tasks: tuple[Task, ...]
    held_out: tuple[Task, ...]
    baselines: Baselines
    losses: Mapping[str, Mapping[str, Sequence[float]]]
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    tuning: Effort = FULL
    validation: tuple[Task, ...] = ()

    @property
    def everything(self) -> tuple[Task, ...]:
        """All tasks that anything is trained on."""
        return (*self.tasks, *self.held_out, *self.validation)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in which a candidate is judged, in order."""
        return plan_stages(self.tasks, self.settings.repeats, self.settings.confirm)

    @property
    def effort(self) -> Effort:
        """How much everything is tuned: as much as the tuned AdamW was."""
        trials = min(by_name["adamw"].trials for by_name in self.baselines.values())
        return replace(self.tuning, trials=trials)

    def seeds(self, purpose: str, count: int) -> dict[str, tuple[int, ...]]:
        """Return the seeds of each proxy task for one purpose."""
        return {t.name: seeds(self.settings.seed, t.name, purpose, count) for t in self.tasks}

    @property
    def gradient_scales(self) -> dict[str, dict[int, float]]:
        """Factors of the gradients on the seeds of fitness, 1, 1/s and s in turn.

        A rule whose updates hang on the scale of the gradients fits the proxies and fails where
        losses are steeper. AdamW and everything made of signs does not notice.
        """
        spread = self.settings.gradient_spread
        if spread == 1.0:
            return {}
        factors, scales = (1.0, 1.0 / spread, spread), defaultdict[str, dict[int, float]](dict)
        for purpose, count in self.settings.fitness_seeds.items():
            for task, chosen in self.seeds(purpose, count).items():
                scales[task] |= {seed: factors[i % 3] for i, seed in enumerate(chosen)}
        return dict(scales)

    def reference(self, purpose: str) -> dict[str, Sequence[float]]:
        """Return the baseline's log losses on each task for one purpose."""
        return {task: losses[purpose] for task, losses in self.losses.items()}

    def slacks(self) -> tuple[float, ...]:
        """Return the amount added to the hurdle at each position of a trace.

        It is larger where less is known: after a share q of all seeds of all tasks it is ``1 / q``
        times that of the full verdict. With equal slack everywhere, one seed of the first task
        would decide nearly alone, and the search would find programs that are lucky there. With
        much more slack at the end, full verdicts on programs that merely resemble the best would
        take all the time. While tasks are unseen it is larger still, by the root of all tasks over
        those seen (``task_slack``): a change may cost on the first task what it gains twice on the
        next, and tasks differ by more than seeds do. Within a run of training it is at least that
        of one seed, because a rule that decays its rate later is behind until the end, and then
        ahead.
        """
        stages, values, done, seen = self.stages, [], 0, set[str]()
        total = sum(len(stage.seeds) for stage in stages)
        slack = self.settings.slack * total
        for stage in stages:
            done += len(stage.seeds)
            seen.add(stage.task)
            marks = len(stage.checkpoints)
            values += [slack * (1 + (marks - mark) / 2) for mark in range(marks)]
            values.append(slack / done * (len(self.tasks) / len(seen)) ** self.settings.task_slack)
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
    """Return the versions that a result depends on besides the settings of the run."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "optforge": library_version("optforge"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def read_plan(
    stored: Mapping[str, Any],
    tasks: Sequence[Task],
    held_out: Sequence[Task],
    validation: Sequence[Task] = (),
) -> SearchPlan:
    """Rebuild the plan of a stored run on the same tasks.

    Raises:
        RunError: If a task differs from the one the run was started with.
    """
    settings = Settings.read(stored["search"])
    hashes = dict(zip(settings.tasks, settings.hashes, strict=True))
    hashes |= dict(zip(stored["held_out"], stored.get("held_out_hashes", ()), strict=False))
    hashes |= dict(zip(settings.validation, settings.validation_hashes, strict=True))
    for task in (*tasks, *held_out, *validation):
        _check_unchanged(task, hashes.get(task.name, task.hash))
    baselines = _read_baselines(stored)
    for task in tasks:
        _ = baselines[task.name]["adamw"].trainee  # with which a search begins
    return SearchPlan(
        settings,
        tuple(tasks),
        tuple(held_out),
        baselines,
        {task.name: _read_losses(stored["losses"][task.name], settings) for task in tasks},
        schedules_of(baselines),
        Effort(**stored["tuning"]) if "tuning" in stored else FULL,
        tuple(validation),
    )


def _read_losses(stored: Mapping[str, Any], settings: Settings) -> dict[str, list[float]]:
    """Return the losses of the baseline on a task, all that a search reads of them."""
    counts = settings.fitness_seeds
    losses = {purpose: [float(loss) for loss in stored[purpose]] for purpose in counts}
    for purpose, count in counts.items():
        if len(losses[purpose]) < count:
            raise ValueError(f"{len(losses[purpose])} of {count} losses of the baseline")
    return losses


def read_schedules(stored: Mapping[str, Any]) -> dict[str, Schedule]:
    """Return the schedules under which a stored run trains its candidates."""
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
