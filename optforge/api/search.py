"""The public functions for searching: start a search or resume it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from optforge.api.budget_options import BudgetOptions, ResumeOptions
from optforge.api.keywords import keywords_of
from optforge.api.own_tasks import check_own, check_run_tasks, loaded
from optforge.api.process_state import preserved_process
from optforge.api.run_log import logged
from optforge.api.search_files import write_finish, write_history
from optforge.api.search_options import SearchOptions
from optforge.api.search_result import SearchResult
from optforge.api.winner import simplify_and_write
from optforge.assessment.finish import Finish, finish
from optforge.errors import SearchError, StoppedError
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan, read_plan
from optforge.evolution.session import (
    PATIENCE_SECONDS,
    make_executor,
    make_plan,
    make_search,
    make_trainer,
)
from optforge.evolution.settings import Settings
from optforge.evolution.starts import check_start
from optforge.evolution.watcher import Watcher
from optforge.execution import process_count
from optforge.jobs import Display, JobRunner, Silent, named
from optforge.language import load_rule, rule_text
from optforge.runs import RunDirectory, Session, check_free
from optforge.runs.directory import new_run_path, rule_file
from optforge.runs.file_names import best_of, file_names
from optforge.tasks import Task, find_tasks
from optforge.training import (
    checked_device,
    is_gpu,
    one_thread,
    spared_by_compiler,
    ways_to_train,
)
from optforge.tuning import BaselineTuner

_WATCH = {"watcher": "watch"}
# What is in flight at the end is not counted. Its worker is replaced after as much time as it takes
# to start one, or a share of the search.
_PATIENCE, _PATIENCE_SHARE = 15.0, 0.1


def _in_bytes(states: float) -> dict[str, float]:
    """Return a former number of states of the size of the weights as bytes per parameter."""
    return {"max_state_bytes": 4.0 * states}


@keywords_of(SearchOptions, {"run": "out", "states": _in_bytes, **_WATCH})
@preserved_process()
def search(options: SearchOptions) -> SearchResult:
    """Search for an update rule, starting from a known one, and measure the result fairly.

    Every proposal is stored in the journal of the run, so a search that was stopped or killed can
    be continued with :func:`optforge.resume`.

    Returns:
        The result; its files are in the directory of the run.

    Raises:
        OptforgeError: If an option or a task cannot be used; the message says what to do.
        StoppedError: If ``stop`` returned True while baselines of your own tasks were tuned.
            Finished trainings are stored, and the same call continues from there.
    """
    checked_device(options.device, SearchError)
    groups = (options.proxies, options.others, options.larger)
    tasks, held_out, larger = (loaded(names) for names in groups)
    everything = (*tasks, *held_out, *larger)
    _check_distinct(tasks, everything)
    file = rule_file(options.start)
    rule = load_rule(file)
    settings = options.settings(rule, tasks)
    check_start(rule, settings)
    names = [task.name for task in (*tasks, *held_out)]
    check_free(options.out or new_run_path(), file_names(names), options.force)
    watch = _watcher(options.watch)
    _say_ahead(settings, options.programs, watch)
    check_own(everything, watch)
    hashes = tuple(task.hash for task in tasks)
    spared = spared_by_compiler(everything, {task.name for task in tasks})
    alone, compiled = ways_to_train(
        everything, watch.say, options.device, options.compiling, spared
    )
    settings = replace(settings, hashes=hashes, alone=alone, compiled=compiled)
    with one_thread():
        tuner = _tuner(options, watch, alone)
        plan = make_plan(settings, tasks, held_out, watch.say, tuner, larger)
    plan = replace(plan, tuning=replace(plan.tuning, fresh_seeds=options.fresh_seeds))
    start = rule_text(file)
    directory = RunDirectory.create(options.out, plan.stored(), names, options.force, start)
    return _SearchSession(plan, directory, options, watch).result()


@keywords_of(ResumeOptions, _WATCH)
@preserved_process()
def resume(options: ResumeOptions) -> SearchResult:
    """Continue a search that was stopped or killed.

    Returns:
        The result, as :func:`optforge.search` returns it.

    Raises:
        OptforgeError: If the run cannot be read or was started with other tasks.
    """
    watch, user_tasks = _watcher(options.watch), loaded(options.tasks)
    directory = RunDirectory.open(options.run, write=True)
    try:
        stored = directory.journal.settings
        with directory.journal.content():
            tasks = find_tasks(stored["search"]["tasks"], user_tasks)
            held_out = find_tasks(stored["held_out"], user_tasks)
            larger = find_tasks(stored["search"].get("validation", ()), user_tasks)
        everything = (*tasks, *held_out, *larger)
        check_run_tasks(user_tasks, everything)
        check_own(everything, watch)
        with directory.journal.content():
            plan = read_plan(stored, tasks, held_out, larger)
    except BaseException:
        directory.journal.close()
        raise
    return _SearchSession(plan, directory, options, watch).result()


def _tuner(options: SearchOptions, watch: Watcher, alone: tuple[str, ...]) -> BaselineTuner:
    workers = options.chosen_workers(gpus=is_gpu(options.device))
    return BaselineTuner(
        options.trials,
        options.length,
        workers,
        watch.progress,
        options.stopping,
        alone,
        options.device,
    )


class _Followed(Silent):
    """A display for sentences and bars that shows nothing of the search in between."""

    def __init__(self, display: Display) -> None:
        self.say, self.progress = display.say, display.progress


def _watcher(watch: Display | None) -> Watcher:
    if watch is None:
        return Silent()
    return watch if isinstance(watch, Watcher) else _Followed(watch)


@dataclass(frozen=True)
class _SearchSession:
    """One session of a search, from its plan to its result."""

    plan: SearchPlan
    directory: RunDirectory
    options: BudgetOptions
    watch: Watcher

    def result(self) -> SearchResult:
        """Search, measure and simplify; return the result."""
        with self.directory as directory, logged(self.options.log, directory, self.watch) as watch:
            return self._result(directory, watch)

    def _result(self, directory: RunDirectory, watch: Watcher) -> SearchResult:
        with one_thread():
            gpus = is_gpu(checked_device(self.plan.settings.device, SearchError))
            workers = self.options.chosen_workers(gpus=gpus)
            budget = self.options.budget
            watch.begin(self.plan, directory, budget, process_count(workers))
            _say_idle(process_count(workers), self.plan.settings.lag, watch)
            with closing(make_executor(self.plan, workers)) as executor:
                runner = JobRunner(executor, directory.journal, named(watch), self.options.stopping)
                search = make_search(self.plan, runner, self.options.memory)
                history = search.run(lambda h: self._ends(budget, h, search.replaying), watch.show)
                self._ended()
                done, simple, stopped = None, None, search.stopped
                if not stopped:
                    patience = max(_PATIENCE, _PATIENCE_SHARE * budget.elapsed)
                    executor.abandon(min(PATIENCE_SECONDS, patience))
                    done, stopped = self._finish(history, runner)
                if done is not None and self.options.simplify:
                    rule, seconds = done.rule.program, budget.elapsed
                    simple = simplify_and_write(self.plan, directory, runner, rule, seconds, watch)
            write_history(directory, watch)
        return SearchResult(directory.path, done, history, stopped, simple)

    def _ends(self, budget: Budget, history: History, replaying: bool) -> bool:
        """Return whether the search ends now; write down when its clock starts."""
        waiting = not budget.began
        ends = budget(history, replaying)
        if waiting and budget.began:
            limited = budget.minutes is not None and math.isfinite(budget.minutes)
            minutes, done = budget.minutes if limited else None, history.tally.proposals
            session = Session(time.time(), done, minutes, budget.programs)
            self.directory.journal.write_session(session)
        return ends

    def _ended(self) -> None:
        """Write down that the search ended; what follows is measured for the table."""
        journal = self.directory.journal
        if journal.session is not None and journal.session.ended is None:
            journal.write_session(replace(journal.session, ended=time.time()))

    def _finish(self, history: History, runner: JobRunner) -> tuple[Finish | None, bool]:
        """Return the final results of the search, and whether it was stopped on the way."""
        try:
            trainer = make_trainer(self.plan, self.directory, runner)
            done = finish(self.plan, history, trainer)
            write_finish(done, self.directory)
        except StoppedError:
            return None, True
        return done, False


def _say_idle(workers: int, lag: int, watch: Watcher) -> None:
    if workers > lag:
        watch.say(
            f"The run judges {lag} batches at once (its lag), so that {workers - lag} of {workers} "
            "workers mostly wait; a new run with a larger --lag uses them"
        )


def _say_ahead(settings: Settings, programs: int | None, watch: Watcher) -> None:
    ahead = settings.lag * settings.batch
    if settings.lag > Settings.lag and programs is not None and programs < 10 * ahead:
        watch.say(
            f"With a lag of {settings.lag} batches {ahead:,} of {programs:,} programs are drawn "
            f"before any is judged; a search of fewer than {10 * ahead:,} loses up to half of its "
            "gain so: give a smaller --lag or more --programs"
        )


def _check_distinct(tasks: Sequence[Task], everything: Sequence[Task]) -> None:
    names = [task.name for task in everything]
    if not tasks:
        raise SearchError("there is no task to search on; give at least one")
    if len(set(map(best_of, names))) < len(names):
        raise SearchError(
            f"tasks are {', '.join(names)}; no name may occur twice, those of held-out tasks and "
            "of the validation included, nor may two differ in signs that names of files lack"
        )
