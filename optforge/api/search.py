"""The public face: one function for a whole search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optforge.ablation import SimpleRule
from optforge.analysis import cost
from optforge.api.process_state import preserved_process
from optforge.api.search_files import write_finish, write_history
from optforge.api.winner import simplify_and_write
from optforge.assessment.finish import Finish, finish
from optforge.assessment.table import Table
from optforge.errors import SearchError, StoppedError, TaskError, real_number, whole_number
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan, read_plan
from optforge.evolution.session import (
    DRAIN_SECONDS,
    make_executor,
    make_plan,
    make_search,
    make_trainer,
)
from optforge.evolution.settings import Settings
from optforge.evolution.starts import check_start, has_constants
from optforge.evolution.watcher import Watcher
from optforge.execution import worker_count
from optforge.jobs import JobRunner, Silent, named
from optforge.language import Program, load_rule, round_constants, rule_text
from optforge.report.search.verdict import verdict
from optforge.runs import Journal, RunDirectory, check_free
from optforge.runs.directory import START, file_names
from optforge.tasks import (
    HELD_OUT_TASK,
    PROXY_TASKS,
    TASKS,
    Task,
    check_task,
    find_tasks,
    load_task,
)
from optforge.training import has_compiler, one_thread, trained_alone
from optforge.tuning import BaselineTuner

# The first phase takes about a fifth of the time: in it nothing is answered from the cache, so a
# program costs more than later. Its length is a number of programs, whatever the budget's unit,
# so that the history does not depend on the speed of the machine.
CONSTANTS_A_MINUTE = 40
FUNCTIONS = ("paper", "masks", "rows", "matrices")
_STATE_BYTES = 8.0  # AdamW's
_CONSTANTS_SHARE = 0.1
_PROGRAMS_A_MINUTE = 10_000
_MINUTES_A_DAY = 24 * 60.0
_COMPILE_FROM = 2.0  # minutes; a shorter search does not earn back what compiling costs


@dataclass(frozen=True)
class SearchResult:
    """What a search leaves.

    Args:
        path: Directory of the run.
        finish: Finalists, table and verdict; None if nothing was judged before the end.
        history: Counts and the best of each phase.
        stopped: Whether it was stopped before its budget was used up.
        simple: The simple form of the discovered rule, with its derivation; None without.
    """

    path: Path
    finish: Finish | None
    history: History
    stopped: bool
    simple: SimpleRule | None = None

    @property
    def best(self) -> Program:
        """The discovered rule, tuned to one setting for all tasks."""
        if self.finish is None:
            raise SearchError("the search ended before any program was judged; give it more time")
        return self.finish.rule.program

    @property
    def table(self) -> Table:
        """The fair table."""
        if self.finish is None:
            raise SearchError("the search ended before any program was judged; give it more time")
        return self.finish.table

    @property
    def verdict(self) -> str:
        """What the table shows, in a sentence or two."""
        return verdict(self.table)

    @property
    def journal(self) -> Journal:
        """The journal of the run, opened for reading; close it after use."""
        return Journal.open(self.path / "journal.sqlite", write=False)


@preserved_process()
def search(
    tasks: Sequence[str | Task] | None = None,
    start: str | Path = "adamw",
    *,
    minutes: float | None = None,
    programs: int | None = None,
    run: str | Path | None = None,
    seed: int = 0,
    population: int = 1000,
    tournament: int = 2,
    functions: str | Sequence[str] = FUNCTIONS,
    max_state_bytes: float | None = None,
    max_statements: int = 32,
    strategy: str = "evolution",
    mutations: Sequence[float] = (1.0, 1.0, 1.0, 0.25),
    in_place: float = Settings.in_place,
    rescale: float = Settings.rescale,
    repeats: int = 3,
    confirm: int = 3,
    restart: str = "best",
    restart_after: int = 20_000,
    constants_programs: int | None = None,
    held_out: Sequence[str | Task] | None = None,
    workers: int | None = None,
    trials: int | None = None,
    compile: bool | None = None,
    simplify: bool = True,
    force: bool = False,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> SearchResult:
    """Search for an update rule, from a known one, and measure fairly what was found.

    Args:
        tasks: Proxy tasks, the cheapest first: names, ``file.py:Class``, or tasks of your own;
            the three shipped proxies by default.
        start: The warm start: name of a shipped rule, or a file.
        minutes: Length of the search; 8 if neither this nor ``programs`` is given, ``inf`` for no
            limit. The measurements at the end take another minute or two.
        programs: End after so many proposals instead.
        run: Directory of the run; a new one under ``runs/`` by default.
        seed: Of everything random.
        population: P of the paper.
        tournament: T of the paper.
        functions: Sets of functions that programs are made of: ``paper`` is the space of the
            paper; ``masks``, ``rows``, ``matrices`` and ``time`` hold what it lacks.
        max_state_bytes: Bytes of state for each parameter that a rule may keep, 4 for each state
            of the size of the weights; what the warm start has, at least 8, by default.
        max_statements: Length at which programs grow no more.
        strategy: ``evolution``, or the controls ``constants`` and ``random``.
        mutations: Weights of insert, delete, modify and, as a fourth, add a state; the paper has
            the first three, alike.
        in_place: Share of the insertions that rewrite a variable which is still read. The paper
            draws all evenly, which is 0.
        rescale: Share of the new structural children whose learning rate is set so that their
            updates are as long as their parent's. The paper sets none, which is 0.
        repeats: Seeds of each task before a program is compared with the best.
        confirm: More seeds of each task for those that would be among the best.
        restart: Where a search that makes no progress restarts: ``best``, the best so far;
            ``initial``, the program that the phase began with, which after the constants is the
            best of them; ``none``.
        restart_after: Programs without progress after which it does.
        constants_programs: Programs of a first phase that tunes the warm start's constants; a
            tenth of the programs, or 40 for each minute of at most a day, by default; 0 for none.
        held_out: Tasks for the final table only; the shipped letters by default.
        workers: Processes; one a core by default, 0 for none but this one.
        trials: Settings tried for AdamW on each task of your own before the search, and for all
            other rows of the table at its end. By default as many, from 4 to 256, as fit a fifth
            of the minutes; 64 where the budget is a number of programs.
        compile: Whether to compile the training; by default where a C++ compiler is found and
            the search is long enough.
        simplify: Whether the winner is simplified at the end: exactly, and after half an hour of
            search also by training, in a tenth of the search's time.
        force: Whether files in ``run`` that optforge did not write may be replaced.
        watcher: A display.
        stop: Asked now and then whether to end early.

    Returns:
        The result; its files are in the directory of the run.

    Raises:
        OptforgeError: In one sentence, with what to do.
        StoppedError: If ``stop`` said so while baselines of own tasks were tuned. What was trained
            is kept, and the same call goes on from there.
    """
    chosen = _tasks(PROXY_TASKS if tasks is None else tasks)
    others = _tasks((HELD_OUT_TASK,) if held_out is None else held_out)
    _check_distinct(chosen, others)
    watcher = watcher or Silent()
    if minutes is None and programs is None:
        minutes = 8.0
    minutes, programs = _budget(minutes, programs)
    count = worker_count(workers)
    if trials is not None:
        trials = whole_number("trials", trials, 1, SearchError)
    mutations = [real_number("a mutation weight", one, wrong=SearchError) for one in mutations]
    if len(mutations) not in (3, 4):
        raise SearchError(
            f"mutation weights are {mutations}; give three (insert, delete, modify) or four, the "
            "last for adding a state"
        )
    rule = load_rule(start)
    settings = Settings(
        start=round_constants(rule).text,
        tasks=tuple(task.name for task in chosen),
        hashes=(),
        seed=seed,
        population=population,
        tournament=tournament,
        repeats=repeats,
        confirm=confirm,
        strategy=strategy,
        constants_programs=_constants(constants_programs, minutes, programs, strategy, rule),
        max_statements=max_statements,
        max_state_bytes=_state_bytes(max_state_bytes, rule),
        functions=_sets(functions),
        insert=mutations[0],
        delete=mutations[1],
        modify=mutations[2],
        add_state=mutations[3] if len(mutations) == 4 else 0.0,
        in_place=in_place,
        rescale=rescale,
        restart=restart,
        restart_after=restart_after,
        compiled=_compiled(compile, minutes, programs),
    )
    check_start(rule, settings)
    names = [task.name for task in (*chosen, *others)]
    if run is not None:
        check_free(run, file_names(names), force)
    watcher.say(f"Reading the data of {', '.join(task.name for task in (*chosen, *others))}")
    for task in (*chosen, *others):
        _check_own(task)
    settings = replace(
        settings,
        hashes=tuple(task.hash for task in chosen),
        alone=trained_alone((*chosen, *others), watcher.say),
    )
    with one_thread():
        tuner = BaselineTuner(trials, minutes, count, watcher.progress, stop, settings.alone)
        made = make_plan(settings, chosen, others, watcher.say, tuner)
    directory = RunDirectory.create(run, made.stored(), names, force)
    directory.write_text(START, rule_text(start))
    return _run(made, directory, Budget(minutes, programs), count, watcher, stop, simplify)


@preserved_process()
def resume(
    run: str | Path,
    *,
    minutes: float | None = None,
    programs: int | None = None,
    tasks: Sequence[Task] = (),
    workers: int | None = None,
    simplify: bool = True,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> SearchResult:
    """Go on with a run where it was stopped or killed.

    Args:
        run: Directory of the run.
        minutes: Length of this session; 8 if neither this nor ``programs`` is given.
        programs: Proposals of the whole run, those already made included.
        tasks: The run's own tasks, held-out ones included, where it has any that are not shipped.
        workers: As in :func:`search`; it changes nothing of the history.
        simplify: As in :func:`search`.
        watcher: A display.
        stop: Asked now and then whether to end early.

    Raises:
        OptforgeError: If the run cannot be read or was made with other tasks.
    """
    watcher = watcher or Silent()
    if minutes is None and programs is None:
        minutes = 8.0
    minutes, programs = _budget(minutes, programs)
    count = worker_count(workers)
    directory = RunDirectory.open(run, write=True)
    try:
        stored = directory.journal.settings
        given = {task.name: task for task in tasks}
        chosen = find_tasks(stored["search"]["tasks"], tasks)
        others = find_tasks(stored["held_out"], tasks)
        _check_known(given, [*stored["search"]["tasks"], *stored["held_out"]])
        watcher.say(f"Reading the data of {', '.join(task.name for task in (*chosen, *others))}")
        for task in given.values():
            _check_own(task)
        made = read_plan(stored, chosen, others)
    except BaseException:
        directory.journal.close()
        raise
    return _run(made, directory, Budget(minutes, programs), count, watcher, stop, simplify)


def _run(
    made: SearchPlan,
    directory: RunDirectory,
    budget: Budget,
    count: int,
    watcher: Watcher,
    stop: Callable[[], bool],
    simplify: bool,
) -> SearchResult:
    with directory, one_thread():
        watcher.begin(made, directory, budget, count)
        executor = make_executor(made, count)
        try:
            runner = JobRunner(executor, directory.journal, named(watcher), stop)
            search = make_search(made, runner)
            history = search.run(lambda h: budget(h, search.replaying), watcher.show)
            done, simple, stopped = None, None, search.stopped
            if not stopped:
                if not search.drain(DRAIN_SECONDS):  # a job hangs, and its worker with it
                    executor.close()
                    executor = runner.executor = make_executor(made, count)
                try:
                    trainer = make_trainer(made, directory, runner)
                    done = finish(made, history, trainer)
                    write_finish(done, directory)
                except StoppedError:
                    stopped = True
            if done is not None and simplify:
                rule, seconds = done.rule.program, budget.elapsed
                simple = simplify_and_write(made, directory, runner, rule, seconds, watcher)
        finally:
            executor.close()
        write_history(directory, watcher)
    return SearchResult(directory.path, done, history, stopped, simple)


def _budget(minutes: object, programs: object) -> tuple[float | None, int | None]:
    """Return the limits as plain numbers."""
    return (
        None
        if minutes is None
        else real_number("minutes", minutes, above=0, infinite=True, wrong=SearchError),
        None if programs is None else whole_number("programs", programs, 1, SearchError),
    )


def _check_own(task: Task) -> None:
    if type(task) is not TASKS.get(task.name):
        check_task(task)


def _check_known(given: Iterable[str], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise TaskError(f"the run has no task {name!r}; it was made with {', '.join(names)}")


def _tasks(given: Sequence[str | Task]) -> list[Task]:
    if isinstance(given, str | Task):  # one is meant, not its letters
        given = [given]
    return [load_task(task) if isinstance(task, str) else task for task in given]


def _check_distinct(tasks: Sequence[Task], held_out: Sequence[Task]) -> None:
    names = [task.name for task in (*tasks, *held_out)]
    if not tasks:
        raise SearchError("there is no task to search on; give at least one")
    if len(set(names)) < len(names):
        raise SearchError(
            f"tasks are {', '.join(names)}; no name may occur twice, held-out ones included"
        )


def _constants(
    given: int | None, minutes: float | None, programs: int | None, strategy: str, rule: Program
) -> int:
    if strategy != "evolution" or not has_constants(rule):
        return 0
    if given is not None:
        return whole_number("constants-programs", given, 0, SearchError)
    if programs is not None:
        return int(_CONSTANTS_SHARE * programs)
    return int(CONSTANTS_A_MINUTE * min(minutes or 0, _MINUTES_A_DAY))


def _state_bytes(given: float | None, rule: Program) -> float:
    return given if given is not None else max(_STATE_BYTES, cost(rule).state_bytes)


def _sets(given: str | Sequence[str]) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else list(given)
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _compiled(given: bool | None, minutes: float | None, programs: int | None) -> bool:
    if given is not None:
        return given
    length = minutes if minutes is not None else (programs or 0) / _PROGRAMS_A_MINUTE
    return length >= _COMPILE_FROM and has_compiler()
