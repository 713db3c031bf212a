"""A run from its first to its last minute: tasks, baselines, journal, workers, table."""

from __future__ import annotations

import functools
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import torch

from optforge.analysis import fingerprint
from optforge.errors import RunError, TaskError
from optforge.evolution.history import History
from optforge.evolution.loop import Search
from optforge.evolution.rescale import Yardstick
from optforge.evolution.settings import Settings
from optforge.execution import Executor, InlineExecutor, WorkerPool
from optforge.fitness import (
    OPTIMIZERS,
    Baseline,
    Evaluator,
    Stage,
    known_settings,
    plan,
    seeds,
    shipped,
    shipped_jointly,
    tune,
)
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import load_rule, parse, round_constants
from optforge.runs import RunDirectory
from optforge.runs.directory import LOSSES
from optforge.tasks import Schedule, Task
from optforge.training import Stack, Trainee, train_population

JOB_SECONDS = 600.0  # a batch takes seconds; a worker that needs longer hangs
DRAIN_SECONDS = 60.0  # what is still in flight at the end of a search may take so long
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
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
    """

    settings: Settings
    tasks: tuple[Task, ...]
    held_out: tuple[Task, ...]
    baselines: Mapping[str, Mapping[str, Baseline]]
    losses: Mapping[str, Mapping[str, Sequence[float]]]
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The order of the judgement."""
        return plan(self.tasks, self.settings.repeats, self.settings.confirm)

    @property
    def trials(self) -> int:
        """Settings that everything is tuned with: as many as the tuned AdamW got."""
        return min(of["adamw"].trials for of in self.baselines.values())

    def seeds(self, purpose: str, count: int) -> dict[str, tuple[int, ...]]:
        """Seeds of each proxy task for one purpose."""
        return {t.name: seeds(self.settings.seed, t.name, purpose, count) for t in self.tasks}

    def slacks(self) -> tuple[float, ...]:
        """What is added to the hurdle at each position of a trace: more where less is known.

        After a share q of all seeds of all tasks it is ``1 / q`` times that of the full verdict.
        With the same slack everywhere one seed of the first task decides nearly alone, and the
        search finds what is lucky there; much more at the end, and full verdicts on programs that
        are merely like the best take all the time. Within a run the slack is that of the first
        task and more: a rule that decays its rate later is behind until the end, and then ahead.
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
        """Give plain values for the journal."""
        return {
            "search": self.settings.stored(),
            "held_out": [task.name for task in self.held_out],
            "held_out_hashes": [task.hash for task in self.held_out],
            "baselines": {
                task: {name: dict(vars(b), parameters=dict(b.parameters)) for name, b in of.items()}
                for task, of in self.baselines.items()
            },
            "losses": {
                task: {k: list(v) for k, v in of.items()} for task, of in self.losses.items()
            },
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Give what a result depends on besides the run's settings."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def make_plan(
    settings: Settings,
    tasks: Sequence[Task],
    held_out: Sequence[Task],
    say: Say,
    trials: int,
) -> Plan:
    """Find or tune the baselines and train the tuned AdamW on the seeds of the search.

    Args:
        settings: Of the search.
        tasks: The proxy tasks, the cheapest first.
        held_out: Tasks for the final table only.
        say: Told in a sentence what is being done.
        trials: Settings to try for tasks that have no shipped baseline.
    """
    baselines = {task.name: _baselines(task, say, trials) for task in (*tasks, *held_out)}
    _say_other_version(tasks, say)
    settings = replace(settings, suggestions=_suggestions(settings, tasks, baselines))
    draft = Plan(settings, tuple(tasks), tuple(held_out), baselines, {})
    losses = {}
    for task in tasks:
        rule = baselines[task.name]["adamw"].trainee
        purposes = {"search": settings.seeds, "rescore": settings.rescore_repeats}
        losses[task.name] = {
            purpose: _log_losses(Stack(task), rule, draft.seeds(purpose, count)[task.name])
            for purpose, count in purposes.items()
        }
        if not numpy.isfinite([value for of in losses[task.name].values() for value in of]).all():
            raise TaskError(
                f"the tuned AdamW has no finite logarithm of the loss on {task.name!r}, which all "
                "are measured by; a task's loss must stay above 0, and AdamW must train it"
            )
    shapes = _schedules(baselines)
    return Plan(settings, draft.tasks, draft.held_out, baselines, losses, shapes)


def read_plan(stored: Mapping[str, Any], tasks: Sequence[Task], held_out: Sequence[Task]) -> Plan:
    """Rebuild the plan of a stored run on the same tasks.

    Raises:
        RunError: If a task is not the one that the run was made with.
    """
    settings = Settings.read(stored["search"])
    known = dict(zip(settings.tasks, settings.hashes, strict=True))
    known |= dict(zip(stored["held_out"], stored.get("held_out_hashes", ()), strict=False))
    for task in (*tasks, *held_out):
        name, digits = task.name, known.get(task.name, task.hash)
        if task.hash != digits:
            raise RunError(
                f"task {name!r} is not what it was when the run began (hash {task.hash}, then "
                f"{digits}): its data, its settings or the version of Python changed; begin a "
                "new run"
            )
    baselines = {
        task: {name: Baseline(**b) for name, b in of.items()}
        for task, of in stored["baselines"].items()
    }
    losses, shapes = stored["losses"], _schedules(baselines)
    return Plan(settings, tuple(tasks), tuple(held_out), baselines, losses, shapes)


def _schedules(baselines: Mapping[str, Mapping[str, Baseline]]) -> dict[str, Schedule]:
    shapes = {task: of["adamw"].trainee.schedule for task, of in baselines.items()}
    return {task: shape for task, shape in shapes.items() if shape is not None}


def read_schedules(stored: Mapping[str, Any]) -> dict[str, Schedule]:
    """Return the schedules that a stored run trains its candidates under."""
    baselines = {
        task: {name: Baseline(**b) for name, b in of.items()}
        for task, of in stored.get("baselines", {}).items()
    }
    return _schedules({task: of for task, of in baselines.items() if "adamw" in of})


def make_executor(made: Plan, workers: int, timeout: float = JOB_SECONDS) -> Executor:
    """Start the workers of a run; with 0 workers jobs run in this process."""
    factory = functools.partial(
        Evaluator,
        tasks=(*made.tasks, *made.held_out),
        stages=made.stages,
        seeds=made.seeds("search", made.settings.seeds),
        baseline={task: of["search"] for task, of in made.losses.items()},
        compile=made.settings.compiled,
        schedules=made.schedules,
    )
    if workers == 0:
        return InlineExecutor(factory)
    return WorkerPool(factory, workers, timeout)


def make_search(made: Plan, directory: RunDirectory, executor: Executor) -> Search:
    """Join plan, journal and executor into a search."""
    settings = made.settings
    return Search(
        settings,
        directory.journal,
        executor,
        made.slacks(),
        made.seeds("rescore", settings.rescore_repeats),
        {task: of["rescore"] for task, of in made.losses.items()},
        _yardstick(made),
    )


def make_trainer(made: Plan, directory: RunDirectory, runner: JobRunner) -> Trainer:
    """Return what trains programs for a run outside of its search, and keeps their losses."""
    tasks = {task.name: task for task in (*made.tasks, *made.held_out)}
    store = Store(directory.path / LOSSES, made.settings.compiled)
    return Trainer(runner, tasks, made.settings.seed, store)


def _yardstick(made: Plan) -> Yardstick | None:
    """Record the first task, which is the cheapest, with its tuned rule."""
    if not made.settings.rescale or made.settings.strategy != "evolution":
        return None
    task = made.tasks[0]
    rule = made.baselines[task.name]["adamw"].trainee
    return Yardstick.of(task, rule, seeds(made.settings.seed, task.name, "yardstick", 1)[0])


@dataclass
class Budget:
    """When a search ends: after minutes or programs, or when it was asked to.

    The clock starts when the first batch has landed, the warm start alone: what it costs to
    start workers and to compile, once a machine, is not taken from the search.

    Args:
        minutes: Of this session; None for no limit.
        programs: Proposals of the whole run; None for no limit.
    """

    minutes: float | None
    programs: int | None
    asked: bool = False
    began: float = 0.0

    def __call__(self, history: History, replaying: bool = False) -> bool:
        """Tell whether the search ends now; no time passes while it reads what it did before."""
        if self.asked:
            return True
        if not self.began and history.tally.proposals and not replaying:
            self.began = time.monotonic()
        if self.programs is not None and history.tally.proposals >= self.programs:
            return True
        return self.minutes is not None and self.elapsed >= 60 * self.minutes

    @property
    def elapsed(self) -> float:
        """Seconds since the first batch landed; 0 before."""
        return time.monotonic() - self.began if self.began else 0.0


def _baselines(task: Task, say: Say, trials: int) -> dict[str, Baseline]:
    known = {name: shipped(task, name) for name in OPTIMIZERS}
    found = {name: baseline for name, baseline in known.items() if baseline is not None}
    if "adamw" not in found:
        say(f"Tuning adamw on {task.name} ({trials} trials): the baseline to beat")
        found["adamw"] = tune(Stack(task), "adamw", trials)
    elif found["adamw"].note:
        say(f"The baseline of {task.name} was {found['adamw'].note}")
    return found


def _say_other_version(tasks: Sequence[Task], say: Say) -> None:
    """Tell where AdamW's one setting for all tasks is not quite of these very tasks."""
    joint = shipped_jointly(tasks, "adamw")
    if joint is not None and joint.note:
        say(f"The setting of AdamW for all tasks together, a start, was {joint.note}")


def _suggestions(
    settings: Settings, tasks: Sequence[Task], baselines: Mapping[str, Mapping[str, Baseline]]
) -> tuple[str, ...]:
    """Give the tuned settings of the warm start, where it is one of the baselines."""
    value = fingerprint(parse(settings.start))
    for name in OPTIMIZERS:
        if value == fingerprint(round_constants(load_rule(name))):
            programs = [b[name].program for t in tasks if name in (b := baselines[t.name])]
            programs += known_settings(tasks) if name == "adamw" else ()
            return tuple(p.text for p in programs if len(p.statements) <= settings.max_statements)
    return ()


def _log_losses(stack: Stack, rule: Trainee, chosen: Sequence[int]) -> list[float]:
    return train_population(stack, [rule], list(chosen)).losses.log()[0].tolist()
