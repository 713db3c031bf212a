"""The public function for funnels: candidates of a search compete on ever larger tasks."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from optforge.api.funnel_options import FunnelOptions
from optforge.api.funnel_result import FunnelPlan, FunnelResult
from optforge.api.funnel_settings import (
    SETTINGS_KEY,
    candidate_count,
    new_settings,
    read_settings,
    tasks_of,
)
from optforge.api.keywords import keywords_of
from optforge.api.own_tasks import check_own
from optforge.api.process_state import preserved_process
from optforge.errors import FunnelError, StoppedError
from optforge.execution import Executor, Workers, process_count, start_executor
from optforge.jobs import Display, JobRunner, Silent, Store, Trainer
from optforge.promotion import Funnel, Script, Stage, StageResult
from optforge.promotion.cost import costs_of, seconds_of
from optforge.promotion.record import Record
from optforge.promotion.script import StageEvaluator
from optforge.promotion.stage import read_ladder
from optforge.report.json_values import json_text
from optforge.report.promotion.command import funnel_command
from optforge.report.promotion.page import (
    FUNNEL_JSON,
    FUNNEL_PAGE,
    best_entrant,
    funnel_json,
    funnel_markdown,
)
from optforge.runs import RunDirectory, check_free
from optforge.runs.file_names import BEST, LOSSES, file_names
from optforge.training import one_thread, trained_alone

_FILES = (FUNNEL_JSON, FUNNEL_PAGE, BEST)
_JOB_SECONDS = 3600.0  # a minute is planned; a training script may take a day
_SCRIPT_SECONDS = 24 * 3600.0


@keywords_of(FunnelOptions)
@preserved_process()
def funnel(options: FunnelOptions) -> FunnelResult:
    """Compare candidates of a search with a tuned baseline on ever larger tasks.

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
        settings = read_settings(directory.journal, options.ladder)
        stages, best = settings.stages, settings.baseline
        if not settings.candidates:
            raise FunnelError(f"{options.run} has no program that was judged in full; search more")
        check_own(tasks_of(stages), watch, "a funnel")
        with closing(_executor(stages, settings.alone, workers)) as executor:
            runner = JobRunner(executor, directory.journal, stop=options.stopping)
            runner.window = max(2, 2 * process_count(workers))
            store = Store(directory.path / LOSSES, compiled=False)
            sources = {stage.name: stage.source for stage in stages}
            trainer = Trainer(runner, sources, settings.seed, store)
            seconds, record = seconds_of(stages, settings.alone), Record(directory.journal)
            run = Funnel(stages, best, settings.alpha, trainer, record, seconds, watch.progress)
            entering = run.run(settings.candidates, settings.schedules, settings.known)
            results, stopped = _finished(entering, watch)
        names = tuple(stage.name for stage in stages)
        result = FunnelResult(directory.path, results, names, best, stopped)
        _write(result, directory)
    return result


def plan_funnel(options: FunnelOptions) -> FunnelPlan:
    """Return what a funnel would cost, without any of its training.

    Args:
        options: Options of the funnel.

    Raises:
        OptforgeError: If an option, a stage or the run cannot be used.
    """
    stages, workers = read_ladder(options.ladder, options.trials), options.chosen_workers()
    count, alone = candidate_count(options), trained_alone(tasks_of(stages), Silent().say)
    costs = costs_of(stages, count, seconds_of(stages, alone))
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
        if SETTINGS_KEY not in directory.journal.settings:
            directory.close()
            raise FunnelError(
                f"{path} holds a search, not a funnel; name the funnel's directory with --out"
            )
    else:
        check_free(path, (*file_names(), *_FILES), options.force)
        settings = {SETTINGS_KEY: new_settings(options, options.watch or Silent())}
        directory = RunDirectory.create(path, settings, force=options.force)
    with directory:
        directory.claim(_FILES, options.force)
        yield directory


def _executor(stages: Sequence[Stage], alone: Sequence[str], workers: Workers) -> Executor:
    scripts = [stage.source for stage in stages if isinstance(stage.source, Script)]
    factory = functools.partial(
        StageEvaluator, tasks=tuple(tasks_of(stages)), scripts=tuple(scripts), alone=alone
    )
    limit = _SCRIPT_SECONDS if scripts else _JOB_SECONDS
    return start_executor(factory, workers, limit)


def _write(result: FunnelResult, directory: RunDirectory) -> None:
    """Write page, figures and the best rule."""
    command = shlex.join(funnel_command(directory.journal.settings[SETTINGS_KEY]))
    page = funnel_markdown(result.stages, result.verdict, command)
    directory.write_text(FUNNEL_PAGE, page)
    content = {"verdict": result.verdict, "stages": funnel_json(result.stages)}
    directory.write_text(FUNNEL_JSON, json_text(content))
    if (best := best_entrant(result.stages)) is not None:
        directory.write_text(BEST, best[1].trainee.program.text)
