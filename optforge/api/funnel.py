"""The public function for funnels: candidates of a search compete on ever larger tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from optforge.api.funnel_options import FunnelOptions
from optforge.api.funnel_result import FunnelPlan, FunnelResult
from optforge.api.keywords import keywords_of
from optforge.api.own_tasks import check_own
from optforge.api.process_state import preserved_process
from optforge.errors import FunnelError, StoppedError, reading
from optforge.evolution.overfitting import KIND as VALIDATE
from optforge.evolution.overfitting import Validation, overfitted_ranges
from optforge.evolution.plan import read_schedules
from optforge.execution import Executor, Workers, process_count, start_executor
from optforge.jobs import Display, JobRunner, Silent, Store, Trainer
from optforge.promotion import Funnel, FunnelCandidate, Script, Stage, StageResult, collect
from optforge.promotion.cost import costs_of, seconds_of
from optforge.promotion.record import Record
from optforge.promotion.script import StageEvaluator
from optforge.promotion.stage import read_ladder, stored_ladder
from optforge.report.json_values import json_text
from optforge.report.promotion.page import (
    FUNNEL_JSON,
    FUNNEL_PAGE,
    best_entrant,
    funnel_json,
    funnel_markdown,
)
from optforge.runs import Journal, RunDirectory
from optforge.runs.directory import BEST, JOURNAL, LOSSES
from optforge.tasks import Task
from optforge.training import one_thread, trained_alone
from optforge.tuning import PLAIN_SHAPE, Setting, shape_setting

_JOB_SECONDS = 3600.0  # a minute is planned; a training script may take a day
_SCRIPT_SECONDS = 24 * 3600.0


@keywords_of(FunnelOptions)
@preserved_process()
def funnel(options: FunnelOptions) -> FunnelResult:
    """Let candidates of a search compete with a tuned baseline on ever larger tasks.

    Each stage tunes rate, decay, averages and schedule of all candidates and of the baseline with
    as many trials, then compares them on fresh seeds. What beats the baseline, by a paired test
    corrected for the number of candidates, enters the next stage; hopeless candidates stop early.
    A stage may be your own training script: a function of an optimizer factory and a seed that
    returns a loss.

    Returns:
        The stages, the table and the best rule; they are also written into the directory.

    Raises:
        OptforgeError: If an option, a stage or the run cannot be used.

    Example:
        >>> import inspect
        >>> list(inspect.signature(funnel).parameters)[:3]
        ['run', 'ladder', 'out']
    """
    watch, workers = options.watch or Silent(), options.chosen_workers(FunnelError)
    with _opened(options) as directory, one_thread():
        settings = directory.journal.settings["funnel"]
        with directory.journal.content():
            given = read_ladder(options.ladder) if options.ladder is not None else ()
            stages = stored_ladder(settings["stages"], given)
            candidates = [FunnelCandidate(**values) for values in settings["candidates"]]
        if not candidates:
            raise FunnelError(f"{options.run} has no program that was judged in full; search more")
        check_own(_tasks(stages), watch, "a funnel")
        alone = tuple(settings["alone"])
        with _executor(stages, alone, workers) as executor:
            runner = JobRunner(executor, directory.journal, stop=options.stopping)
            runner.window = max(2, 2 * process_count(workers))
            store = Store(directory.path / LOSSES, compiled=False)
            sources = {stage.name: stage.source for stage in stages}
            trainer = Trainer(runner, sources, settings["seed"], store)
            seconds = seconds_of(stages, alone)
            record, best = Record(directory.journal), settings["baseline"]
            run = Funnel(stages, best, settings["alpha"], trainer, record, seconds, watch.progress)
            schedules, known = (_settings(settings[name]) for name in ("schedules", "known"))
            results, stopped = _finished(run.run(candidates, schedules, known), watch)
        names = tuple(stage.name for stage in stages)
        result = FunnelResult(directory.path, results, names, best, stopped)
        _write(result, directory, f"optforge funnel {settings['run']}")
    return result


def plan_funnel(options: FunnelOptions) -> FunnelPlan:
    """Return what a funnel would cost, without any of its training.

    Args:
        options: Options of the funnel.

    Raises:
        OptforgeError: If an option, a stage or the run cannot be used.
    """
    stages, workers = read_ladder(options.ladder, options.trials), options.chosen_workers()
    with Journal.open(_journal(options), write=False) as journal, journal.content():
        count = len(collect(journal, options.candidates, _trusted(journal)))
    costs = costs_of(stages, count, seconds_of(stages, trained_alone(_tasks(stages), Silent().say)))
    return FunnelPlan(tuple(costs), process_count(workers))


def _finished(
    results: Iterator[StageResult], watch: Display
) -> tuple[tuple[StageResult, ...], bool]:
    """Return the results of all stages, or of those before a stop, and whether it was stopped."""
    finished: list[StageResult] = []
    try:
        for result in results:
            finished.append(result)
            count = len(result.promoted)
            watch.say(f"{result.name}: {count} of {len(result.entrants)} candidates promoted")
    except StoppedError:
        return tuple(finished), True
    return tuple(finished), False


@contextmanager
def _opened(options: FunnelOptions) -> Iterator[RunDirectory]:
    """Open the directory of a funnel; a new one stores its settings and candidates."""
    path = options.path
    if options.resume:
        directory = RunDirectory.open(path, write=True)
    else:
        settings = {"funnel": _new_settings(options, options.watch or Silent())}
        directory = RunDirectory.create(path, settings, force=options.force)
    with directory:
        directory.claim((FUNNEL_JSON, FUNNEL_PAGE), options.force)
        yield directory


def _new_settings(options: FunnelOptions, watch: Display) -> dict[str, Any]:
    stages = read_ladder(options.ladder, options.trials)
    with Journal.open(_journal(options), write=False) as journal, journal.content():
        stored = journal.settings
        candidates = collect(journal, options.candidates, _trusted(journal))
        shapes = {shape_setting(shape) for shape in read_schedules(stored).values()}
    return {
        "run": str(options.run),
        "stages": [stage.stored() for stage in stages],
        "candidates": [asdict(candidate) for candidate in candidates],
        "schedules": [dict(shape) for shape in sorted({*shapes, PLAIN_SHAPE})],
        "known": _known(stored, options.baseline),
        "alone": trained_alone(_tasks(stages), watch.say),
        **{name: getattr(options, name) for name in ("baseline", "alpha", "seed")},
    }


def _trusted(journal: Journal) -> Callable[[int], bool]:
    """Return whether a proposal was made outside of meta-overfitting."""
    validations = [Validation.read(event.detail) for event in journal.events(VALIDATE)]
    ranges = overfitted_ranges(validations)
    return lambda number: not any(begin < number <= end for begin, end in ranges)


def _known(stored: dict[str, Any], baseline: str) -> list[dict[str, float]]:
    """Return the settings that the baseline was tuned to on the tasks of the search."""
    tasks = stored.get("search", {}).get("tasks", ())
    tuned = [stored["baselines"][task].get(baseline) for task in tasks]
    return [{**dict(PLAIN_SHAPE), **entry["parameters"]} for entry in tuned if entry is not None]


def _settings(stored: Sequence[dict[str, float]]) -> tuple[Setting, ...]:
    return tuple(tuple(sorted(values.items())) for values in stored)


def _journal(options: FunnelOptions) -> str:
    with reading(options.run, "give the directory of a search"):
        return str(RunDirectory.open(options.run).path / JOURNAL)


def _tasks(stages: Sequence[Stage]) -> list[Task]:
    return [stage.source for stage in stages if isinstance(stage.source, Task)]


@contextmanager
def _executor(
    stages: Sequence[Stage], alone: Sequence[str], workers: Workers
) -> Iterator[Executor]:
    scripts = [stage.source for stage in stages if isinstance(stage.source, Script)]
    factory = functools.partial(
        StageEvaluator, tasks=tuple(_tasks(stages)), scripts=tuple(scripts), alone=alone
    )
    limit = _SCRIPT_SECONDS if scripts else _JOB_SECONDS
    executor = start_executor(factory, workers, limit)
    try:
        yield executor
    finally:
        executor.close()


def _write(result: FunnelResult, directory: RunDirectory, command: str) -> None:
    """Write page, figures and the best rule."""
    page = funnel_markdown(result.stages, result.verdict, command)
    directory.write_text(FUNNEL_PAGE, page)
    content = {"verdict": result.verdict, "stages": funnel_json(result.stages)}
    directory.write_text(FUNNEL_JSON, json_text(content))
    if (best := best_entrant(result.stages)) is not None:
        directory.write_text(BEST, best[1].trainee.program.text)
