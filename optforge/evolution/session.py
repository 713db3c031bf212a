"""Setting up a search: baselines, workers, the search itself, and training after it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy

from optforge.analysis import fingerprint
from optforge.errors import TaskError
from optforge.evolution.history import History
from optforge.evolution.known import MEMORY
from optforge.evolution.loop import Search
from optforge.evolution.plan import SearchPlan, schedules_of
from optforge.evolution.rescale import Yardstick
from optforge.evolution.rescore import Rescorer
from optforge.evolution.settings import Settings
from optforge.evolution.validation import SEEDS as VALIDATION_SEEDS
from optforge.evolution.validation import Validator, validation_cost
from optforge.execution import JOB_SECONDS, Executor, Workers, start_executor
from optforge.fitness import Evaluator, seeds
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import load_rule, parse, round_constants
from optforge.runs import RunDirectory
from optforge.runs.file_names import LOSSES
from optforge.tasks import Task, is_shipped
from optforge.training import Stack, Trainee, train_population
from optforge.tuning import (
    OPTIMIZERS,
    Baseline,
    BaselineTuner,
    known_settings,
    shipped,
    shipped_jointly,
)

# Of a job of the final measurements: a quarter of a batch of the search, and where candidates train
# slowly at least as many trainings as a compiled kernel has rows.
_PROGRAMS_A_JOB, _LEAST_JOB = Settings.batch // 4, 4
PATIENCE_SECONDS = 60.0  # what is still in flight at the end of a search may take so long
Say = Callable[[str], None]


def make_plan(
    settings: Settings,
    tasks: Sequence[Task],
    held_out: Sequence[Task],
    say: Say,
    tuner: BaselineTuner,
    validation: Sequence[Task] = (),
) -> SearchPlan:
    """Load or tune the baselines, and train the tuned AdamW on the seeds of the search.

    Args:
        settings: Settings of the search.
        tasks: The proxy tasks, the cheapest first.
        held_out: Tasks for the final table only.
        say: Called with a sentence on what is being done.
        tuner: Tunes AdamW on tasks that have no shipped baseline.
        validation: Larger tasks on which incumbents are scored.

    Raises:
        StoppedError: If a stop is asked for while baselines are tuned.
        TaskError: If AdamW cannot be measured on a task.
    """
    everything = (*tasks, *held_out)
    baselines = {task.name: _shipped(task, say) for task in everything}
    untuned = [task for task in everything if "adamw" not in baselines[task.name]]
    with tuner.trainer(untuned) as trainer:
        tuned, effort = tuner.tune(trainer)
        for name, baseline in tuned.items():
            baselines[name]["adamw"] = baseline
        _say_other_version(tasks, say)
        untuned_proxies = [task for task in tasks if task.name in trainer.tasks]
        batch = tuner.batch(untuned_proxies, trainer.store, settings.batch)
        settings = replace(
            settings,
            suggestions=_suggestions(settings, tasks, baselines),
            batch=batch,
            constants_programs=settings.constants_programs * batch // settings.batch,
            **_validation(validation, tasks),
        )
        schedules = schedules_of(baselines)
        plan = SearchPlan(
            settings,
            tuple(tasks),
            tuple(held_out),
            baselines,
            {},
            schedules,
            effort,
            tuple(validation),
        )
        return replace(plan, losses=_reference(plan, trainer))


def _validation(tasks: Sequence[Task], proxies: Sequence[Task]) -> dict[str, Any]:
    """Return the settings of the meta-validation."""
    return {
        "validation": tuple(task.name for task in tasks),
        "validation_hashes": tuple(task.hash for task in tasks),
        "validation_cost": validation_cost(tasks, proxies) if tasks else 0.0,
    }


def _reference(plan: SearchPlan, trainer: Trainer) -> dict[str, dict[str, list[float]]]:
    """Train the tuned AdamW of each proxy task on the seeds of the search; own tasks on workers."""
    settings = plan.settings
    counts = settings.fitness_seeds
    losses: dict[str, dict[str, list[float]]] = {}
    for task in plan.tasks:
        rule, name = plan.baselines[task.name]["adamw"].trainee, task.name
        losses[name] = {}
        batched = False if name in settings.alone else None
        for purpose, count in counts.items():
            chosen = {name: plan.seeds(purpose, count)[name]}
            if name in trainer.tasks:
                values = trainer.losses({name: [rule]}, chosen, "validation")[name][0].tolist()
            else:
                scales = plan.gradient_scales.get(name, {})
                stack = Stack(task, device=settings.device, batched=batched, scales=scales)
                values = _log_losses(stack, rule, chosen[name])
            losses[name][purpose] = values
        if not numpy.isfinite(
            [value for values in losses[name].values() for value in values]
        ).all():
            raise TaskError(
                f"the tuned AdamW has no finite logarithm of the loss on {name!r}, which all "
                "are measured by; a task's loss must stay above 0, and AdamW must train it"
            )
    return losses


def make_executor(plan: SearchPlan, workers: Workers, limit: float = JOB_SECONDS) -> Executor:
    """Start the workers of a run; with 0 workers jobs run in this process."""
    factory = functools.partial(
        Evaluator,
        tasks=plan.everything,
        stages=plan.stages,
        seeds=plan.seeds("search", plan.settings.fitness_seeds["search"]),
        baseline=plan.reference("search"),
        compile=plan.settings.compiled,
        schedules=plan.schedules,
        alone=plan.settings.alone,
        device=plan.settings.device,
        scales=plan.gradient_scales,
    )
    return start_executor(factory, workers, limit)


def make_search(plan: SearchPlan, runner: JobRunner, memory: int = MEMORY) -> Search:
    """Return the search of a plan; it uses the runner's journal.

    Args:
        plan: The plan.
        runner: Runs the jobs.
        memory: Bound of the memory for the known programs, in bytes.
    """
    settings = plan.settings
    seeds = plan.seeds("rescore", settings.rescore_repeats)
    rescorer = Rescorer(settings.rescore_every, seeds, plan.reference("rescore"))
    history = History(settings, plan.slacks(), memory)
    return Search(history, runner, rescorer, _yardstick(plan), _validator(plan))


def make_trainer(plan: SearchPlan, directory: RunDirectory, runner: JobRunner) -> Trainer:
    """Return a trainer for all training of a run outside of its search; it stores the losses.

    Where candidates train slowly, batches are small and jobs too, so that no worker waits long.
    """
    tasks = {task.name: task for task in (*plan.tasks, *plan.held_out)}
    store = Store(directory.path / LOSSES, plan.settings.compiled, plan.settings.device)
    unshipped = [name for name, task in tasks.items() if not is_shipped(task)]
    batch = plan.settings.batch
    slow = dict.fromkeys(unshipped, max(_LEAST_JOB, batch // 2)) if batch < Settings.batch else {}
    return Trainer(runner, tasks, plan.settings.seed, store, _PROGRAMS_A_JOB, slow=slow)


def _validator(plan: SearchPlan) -> Validator:
    settings = plan.settings
    chosen = {
        task.name: seeds(settings.seed, task.name, "validate", VALIDATION_SEEDS)
        for task in plan.validation
    }
    return Validator(chosen, settings.validation_share, settings.validation_cost)


def _yardstick(plan: SearchPlan) -> Yardstick | None:
    """Record the first (and cheapest) task under its tuned rule."""
    if not plan.settings.rescale or plan.settings.strategy != "evolution":
        return None
    task = plan.tasks[0]
    if task.name in plan.settings.alone:
        return None
    rule = plan.baselines[task.name]["adamw"].trainee
    seed = seeds(plan.settings.seed, task.name, "yardstick", 1)[0]
    return Yardstick.of(task, rule, seed, plan.settings.device)


def _shipped(task: Task, say: Say) -> dict[str, Baseline]:
    baselines = {name: shipped(task, name) for name in OPTIMIZERS}
    known = {name: baseline for name, baseline in baselines.items() if baseline is not None}
    if "adamw" in known and known["adamw"].note:
        say(f"The baseline of {task.name} was {known['adamw'].note}")
    return known


def _say_other_version(tasks: Sequence[Task], say: Say) -> None:
    """Report which joint setting of AdamW was tuned on other versions of the tasks."""
    joint = shipped_jointly(tasks, "adamw")
    if joint is not None and joint.note:
        say(f"The setting of AdamW for all tasks together, a start, was {joint.note}")


def _suggestions(
    settings: Settings, tasks: Sequence[Task], baselines: Mapping[str, Mapping[str, Baseline]]
) -> tuple[str, ...]:
    """Return the tuned settings of the warm start if it is one of the baselines."""
    value = fingerprint(parse(settings.start))
    for name in OPTIMIZERS:
        if value == fingerprint(round_constants(load_rule(name))):
            programs = [b[name].program for t in tasks if name in (b := baselines[t.name])]
            programs += known_settings(tasks) if name == "adamw" else ()
            return tuple(p.text for p in programs if len(p.statements) <= settings.max_statements)
    return ()


def _log_losses(stack: Stack, rule: Trainee, chosen: Sequence[int]) -> list[float]:
    return train_population(stack, [rule], list(chosen)).losses.log()[0].tolist()
