"""The public face of simplifying: one function from a rule to a simple one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from optforge.ablation.events import Event
from optforge.ablation.result import SimpleRule, describe
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.ablation.train import Options, simplify_by_training
from optforge.api.process_state import preserved_process
from optforge.api.winner import write_simple_rule
from optforge.equality.exact import simplify_exact
from optforge.errors import SimplifyError, whole_number
from optforge.evolution.plan import read_schedules
from optforge.execution import Executor, start_executor, worker_count
from optforge.fitness import Evaluator
from optforge.jobs import Display, JobRunner, Silent, Store, named
from optforge.language import Program, load_rule
from optforge.report.simplify.events import event_sentence
from optforge.runs import Journal, RunDirectory
from optforge.runs.directory import JOURNAL, LOSSES, SIMPLE, is_directory, rule_file
from optforge.tasks import PROXY_TASKS, TASKS, Schedule, Task, check_task, load_task
from optforge.tasks.data.cache import directory as cache_directory
from optforge.training import has_compiler, trained_alone


@preserved_process()
def simplify(
    rule: str | Path | Program,
    *,
    exact: bool = False,
    tasks: Sequence[str | Task] | None = None,
    options: Options | None = None,
    seed: int | None = None,
    workers: int | None = None,
    force: bool = False,
    display: Display | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> SimpleRule:
    """Turn a rule into a simple one, with a derivation that says why every step is allowed.

    Args:
        rule: A shipped rule's name, a file, the directory of a run (its winner; the files of the
            simplification are written beside it), or a program.
        exact: Use no training: equal over the real numbers, or up to a guard.
        tasks: Where it is trained; those of the run, or the three shipped proxies, by default.
        options: How training decides: margin, protected names, time.
        seed: Of all training seeds; that of the run, or 0, by default.
        workers: Processes; one a core by default, 0 for none but this one.
        force: Whether files in the run's directory that optforge did not write may be replaced.
        display: Shows the progress.
        stop: Asked now and then whether to stop early.

    Returns:
        The simple rule, its name, derivation, table of effects and property card.

    Raises:
        OptforgeError: In one sentence, with what to do.
        StoppedError: If ``stop`` said so. The same call goes on where it was.

    Example:
        >>> found = simplify("program_8", exact=True)
        >>> len(found.program.statements), found.recognised.family
        (9, 'Lion')
    """
    display = display or Silent()
    program, run = _read(rule)
    seed = None if seed is None else whole_number("seed", seed, wrong=SimplifyError)
    if exact and not (tasks is None and options is None and seed is None):
        raise SimplifyError(
            "exact simplifying uses no training, so that tasks, options and seed would do "
            "nothing; leave them out, or exact"
        )
    if run is not None:
        with RunDirectory.open(run) as directory:
            directory.claim(SIMPLE, force)
    if exact:
        found = describe(simplify_exact(program, say=display.say))
    else:
        chosen = _tasks(tasks, run)
        place = _Place.of(program, run, seed)
        found = _trained(program, place, chosen, options or Options(), workers, display, stop)
    if run is not None:
        with RunDirectory.open(run) as directory:
            write_simple_rule(found, directory)
    return found


def _trained(
    program: Program,
    place: _Place,
    tasks: Sequence[Task],
    options: Options,
    workers: int | None,
    display: Display,
    stop: Callable[[], bool],
) -> SimpleRule:
    count = worker_count(workers, SimplifyError)
    display.say(f"Reading the data of {', '.join(task.name for task in tasks)}")
    for task in tasks:
        if type(task) is not TASKS.get(task.name):
            check_task(task)
    store = Store(place.losses, place.compiled)
    if place.alone is None:
        place = replace(place, alone=trained_alone(tasks, display.say))
    with _executor(tasks, count, place) as executor:
        window = max(2, 2 * count)
        runner = JobRunner(executor, watch=named(display), stop=stop, window=window)
        trainer = RuleTrainer.of(tasks, runner, store, place.seed, place.schedules)

        def say(event: Event) -> None:
            display.say(event_sentence(event))

        return describe(*simplify_by_training(program, trainer, options, count, say))


@dataclass(frozen=True)
class _Place:
    """Where losses are kept, and what they depend on besides rule and task.

    A run's own seed and way of training are taken, so that what its search has already measured
    of its winner is not measured again.
    """

    losses: Path
    seed: int
    compiled: bool
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    alone: tuple[str, ...] | None = None

    @classmethod
    def of(cls, program: Program, run: Path | None, seed: int | None) -> _Place:
        if run is None:
            digest = blake2b(program.text.encode(), digest_size=8).hexdigest()
            losses = cache_directory() / "simplify" / f"{digest}.losses"
            return cls(losses, seed or 0, False)
        with Journal.open(run / JOURNAL, write=False) as journal:
            stored = journal.settings
        settings = stored["search"]
        compiled = bool(settings.get("compiled", False)) and has_compiler()
        chosen: int = settings["seed"] if seed is None else seed
        alone = tuple(settings.get("alone", ()))
        return cls(run / LOSSES, chosen, compiled, read_schedules(stored), alone)


@contextmanager
def _executor(tasks: Sequence[Task], workers: int, place: _Place) -> Iterator[Executor]:
    factory = functools.partial(
        Evaluator,
        tasks=tuple(tasks),
        stages=(),
        seeds={},
        baseline={},
        compile=place.compiled,
        schedules=place.schedules,
        alone=place.alone or (),
    )
    executor = start_executor(factory, workers)
    try:
        yield executor
    finally:
        executor.close()


def _read(rule: str | Path | Program) -> tuple[Program, Path | None]:
    """Give the program, and the directory if it is a run."""
    if isinstance(rule, Program):
        return rule, None
    run = Path(rule)
    return load_rule(rule_file(rule)), run if is_directory(run) else None


def _tasks(given: Sequence[str | Task] | None, run: Path | None) -> list[Task]:
    if given is None and run is not None:
        with Journal.open(run / JOURNAL, write=False) as journal:
            given = list(journal.settings["search"]["tasks"])
    names = PROXY_TASKS if given is None else given
    chosen = [load_task(task) if isinstance(task, str) else task for task in names]
    if not chosen:
        raise SimplifyError("there is no task to train on; give at least one, or --exact")
    if len({task.name for task in chosen}) < len(chosen):
        raise SimplifyError(
            f"tasks are {', '.join(task.name for task in chosen)}; no name may occur twice"
        )
    return chosen
