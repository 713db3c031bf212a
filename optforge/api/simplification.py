"""The public function for simplification: from a rule to a simple one."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from optforge.ablation.events import Event
from optforge.ablation.evolve import PROGRAMS
from optforge.ablation.result import SimpleRule, describe
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.ablation.train import Options, simplify_by_training
from optforge.api.keywords import WorkOptions, keywords_of
from optforge.api.own_tasks import check_own, loaded
from optforge.api.process_state import preserved_process
from optforge.api.simplify_result import SimplifyResult
from optforge.api.winner import write_simple_rule
from optforge.equality import update_picture
from optforge.equality.exact import simplify_exact
from optforge.errors import SimplifyError
from optforge.evolution.plan import read_schedules
from optforge.execution import (
    Executor,
    Workers,
    process_count,
    start_executor,
    worker_count,
)
from optforge.fitness import Evaluator
from optforge.jobs import Display, JobRunner, Silent, Store, named
from optforge.language import Program, load_rule
from optforge.report.simplify.events import event_sentence
from optforge.report.simplify.files import rule_text
from optforge.report.simplify.page import simplify_markdown
from optforge.runs import Journal, RunDirectory
from optforge.runs.directory import is_directory, rule_file
from optforge.runs.file_names import JOURNAL, LOSSES, SIMPLE
from optforge.runs.outputs import check_output, write_output
from optforge.tasks import PROXY_TASKS, Schedule, Task
from optforge.tasks.data.cache import directory as cache_directory
from optforge.training import checked_device, has_compiler, is_gpu, trained_alone

BY = ("statements", "evolution")


@dataclass(frozen=True)
class SimplifyOptions(Options, WorkOptions):
    """Options of a simplification.

    Args:
        rule: A shipped rule's name, a file, the directory of a run (its winner), or a program.
        exact: Use no training; the result is equal over the real numbers, or up to a guard.
        tasks: Tasks to train on, the cheapest first: names, ``file.py:Class``, or objects; those
            of the run, or the three shipped proxies, by default.
        by: Method: statements tries to leave out statements one by one; evolution first evolves the
            rule with insertion disabled, as the paper did.
        programs: Number of proposals of that evolution; 0 stands for 3,000.
        seed: Random seed of all training; that of the run, or 0, by default.
        out: File to write the simple rule to; if its name ends in .md, the derivation and the table
            too.
        picture: PNG file for a plot of the update against gradient and momentum.
        force: Replace these files, or files in the run's directory, that optforge did not write.

    Raises:
        SimplifyError: If an option is out of range or would have no effect.
    """

    rule: str | Path | Program
    _: KW_ONLY
    exact: bool = False
    tasks: Sequence[str | Task] | None = None
    by: str = "statements"
    seed: int | None = None
    out: str | Path | None = None
    picture: str | Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        worker_count(self.workers, SimplifyError)
        if self.by not in BY:
            raise SimplifyError(f"by is {self.by!r}; give {' or '.join(map(repr, BY))}")
        if self.programs < 0:
            raise SimplifyError(f"programs is {self.programs}; give 1 or more")
        if self.programs and self.by != "evolution":
            raise SimplifyError("programs is for by evolution (--by evolution); give both or none")
        if self.exact:
            changed = (name for name in _OF_TRAINING if getattr(self, name) != _DEFAULTS[name])
            check_exact(changed)

    @property
    def training(self) -> Options:
        """Options of the decisions by training."""
        values = {field.name: getattr(self, field.name) for field in fields(Options)}
        evolution = (self.programs or PROGRAMS) if self.by == "evolution" else 0
        return Options(**{**values, "programs": evolution})


_OF_TRAINING = ("tasks", "seed", "by", *(field.name for field in fields(Options)))
_DEFAULTS = {field.name: field.default for field in fields(SimplifyOptions)}


def check_exact(names: Iterable[str]) -> None:
    """Check that no option of training is used together with ``exact``.

    Raises:
        SimplifyError: If there is one, because it would have no effect.
    """
    chosen = set(names)
    if idle := [name for name in _OF_TRAINING if name in chosen]:
        raise SimplifyError(
            f"exact simplifying uses no training, so that {', '.join(idle)} would do nothing; "
            "leave them out, or exact"
        )


def _from_options(options: Options) -> dict[str, Any]:
    """Return the keywords that replace the former ``options=Options(...)``."""
    return {**vars(options), "by": "evolution" if options.programs else "statements"}


@keywords_of(SimplifyOptions, {"display": "watch", "options": _from_options})
@preserved_process()
def simplify(options: SimplifyOptions) -> SimplifyResult:
    """Simplify a rule, with a derivation that justifies every step.

    For a run this is its winner; the files of the simplification are written into the run's
    directory.

    Returns:
        The simple rule, its name, derivation, table of effects and property card.

    Raises:
        OptforgeError: If an option or a task cannot be used, or a file cannot be written.
        StoppedError: If ``stop`` returned True. The same call continues where it was stopped.

    Example:
        >>> found = simplify("program_8", exact=True)
        >>> len(found.program.statements), found.recognised.family
        (9, 'Lion')
    """
    program, run = _read(options.rule)
    watch = options.watch or Silent()
    files = [Path(file) for file in (options.out, options.picture) if file is not None]
    for file in files:
        check_output(file, options.force, SimplifyError)
    if len({file.absolute() for file in files}) < len(files):
        raise SimplifyError(f"out and picture are both {options.out}; give two files")
    with _claimed(run, options.force) as directory:
        if options.exact:
            simple = describe(simplify_exact(program, say=watch.say))
        else:
            simple = _trained(program, run, options, watch)
        if directory is not None:
            write_simple_rule(simple, directory)
    _write(simple, options)
    return SimplifyResult(**vars(simple))


@contextmanager
def _claimed(run: Path | None, force: bool) -> Iterator[RunDirectory | None]:
    """Open the directory of a run, to which nobody else may write meanwhile."""
    if run is None:
        yield None
        return
    with RunDirectory.open(run, write=True) as directory:
        directory.claim(SIMPLE, force)
        yield directory


def _trained(
    program: Program, run: Path | None, options: SimplifyOptions, watch: Display
) -> SimpleRule:
    tasks, place = _tasks(options.tasks, run), _Place.of(program, run, options.seed)
    gpus = is_gpu(checked_device(place.device, SimplifyError))
    workers = options.chosen_workers(SimplifyError, gpus)
    check_own(tasks, watch, "a simplification")
    store = Store(place.losses, place.compiled, place.device)
    if place.alone is None:
        place = replace(place, alone=trained_alone(tasks, watch.say))
    with closing(_executor(tasks, workers, place)) as executor:
        window = max(2, 2 * process_count(workers))
        runner = JobRunner(executor, watch=named(watch), stop=options.stopping, window=window)
        trainer = RuleTrainer.of(tasks, runner, store, place.seed, place.schedules)

        def say(event: Event) -> None:
            watch.say(event_sentence(event))

        return describe(*simplify_by_training(program, trainer, options.training, workers, say))


def _write(simple: SimpleRule, options: SimplifyOptions) -> None:
    """Write the requested files."""
    if options.out is not None:
        out = Path(options.out)
        text = simplify_markdown(simple) if out.suffix == ".md" else rule_text(simple)
        write_output(out, text, options.force, SimplifyError)
    if options.picture is not None:
        picture = update_picture(simple.program)
        write_output(Path(options.picture), picture, options.force, SimplifyError)


@dataclass(frozen=True)
class _Place:
    """The store of losses, and what the losses depend on besides rule and task.

    For a run, its own seed and way of training are used, so that measurements that its search has
    already made of its winner are reused.
    """

    losses: Path
    seed: int
    compiled: bool
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    alone: tuple[str, ...] | None = None
    device: str = "cpu"

    @classmethod
    def of(cls, program: Program, run: Path | None, seed: int | None) -> _Place:
        if run is None:
            digest = blake2b(program.text.encode(), digest_size=8).hexdigest()
            losses = cache_directory() / "simplify" / f"{digest}.losses"
            return cls(losses, seed or 0, False)
        with Journal.open(run / JOURNAL, write=False) as journal, journal.content():
            stored = journal.settings
            settings = stored["search"]
            compiled = bool(settings.get("compiled", False)) and has_compiler()
            chosen: int = settings["seed"] if seed is None else seed
            alone = tuple(settings.get("alone", ()))
            device: str = settings.get("device", "cpu")
            return cls(run / LOSSES, chosen, compiled, read_schedules(stored), alone, device)


def _executor(tasks: Sequence[Task], workers: Workers, place: _Place) -> Executor:
    factory = functools.partial(
        Evaluator,
        tasks=tuple(tasks),
        compile=place.compiled,
        schedules=place.schedules,
        alone=place.alone or (),
        device=place.device,
    )
    return start_executor(factory, workers)


def _read(rule: str | Path | Program) -> tuple[Program, Path | None]:
    """Return the program, and the directory if it is a run."""
    if isinstance(rule, Program):
        return rule, None
    run = Path(rule)
    return load_rule(rule_file(rule)), run if is_directory(run) else None


def _tasks(tasks: Sequence[str | Task] | None, run: Path | None) -> list[Task]:
    if tasks is None and run is not None:
        with Journal.open(run / JOURNAL, write=False) as journal, journal.content():
            tasks = list(journal.settings["search"]["tasks"])
    chosen = loaded(PROXY_TASKS if tasks is None else tasks)
    if not chosen:
        raise SimplifyError("there is no task to train on; give at least one, or --exact")
    if len({task.name for task in chosen}) < len(chosen):
        raise SimplifyError(
            f"tasks are {', '.join(task.name for task in chosen)}; no name may occur twice"
        )
    return chosen
