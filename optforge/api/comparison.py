"""The public function for comparisons, and the directory that stores their results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Any

from optforge.api.comparison_result import ComparisonResult
from optforge.api.keywords import WorkOptions, keywords_of
from optforge.api.own_tasks import loaded
from optforge.api.process_state import preserved_process
from optforge.comparison import (
    CELLS,
    CellTable,
    Comparison,
    ComparisonSettings,
    Findings,
    Recipe,
    Runner,
    comparison_from,
    load_recipe,
    recipe_from,
    run_comparison,
    variants,
)
from optforge.comparison.cells.cell_table import acquire_lock
from optforge.comparison.cells.runner import LIMIT
from optforge.comparison.definition import DEFINITION, store_definition, stored_definition
from optforge.comparison.finished import Finished, finished
from optforge.comparison.progress import Progress
from optforge.errors import CompareError
from optforge.files import begin_record, check_own
from optforge.options import mapping_of
from optforge.report.comparison.figures import FIGURES
from optforge.report.comparison.page import REPORT_JSON, REPORT_MARKDOWN, write_report
from optforge.tasks import Task
from optforge.training import is_gpu

_HOW = "optforge compare --resume --out"


@dataclass(frozen=True)
class CompareOptions(ComparisonSettings, WorkOptions):
    """Options of a comparison.

    Args:
        tasks: Names of shipped tasks, ``file.py:Class``, or tasks of your own.
        optimizers: Presets, names, files or recipes; or a mapping from names to optimizers, classes
            or recipes.
        out: Directory for cells, tables and figures; nothing is stored by default.
        resume: Continue from the cells in ``out``.
        baseline: Name of the optimizer that the others are compared with; the first by default.
        axes: Attributes of the tasks to sweep over, with their values.
        fixed: Attributes of the tasks to set everywhere; samples is steps x batch size.
        title: Title of the report.
        claim: The claim to be tested, in words.
        device: Device to train on, for example cuda.
        limit: Seconds after which a worker's run is stopped; it then has no result, and resuming
            tries it again.
        figures: Draw figures into ``out``.
        force: Replace files in ``out`` that optforge did not write.
    """

    tasks: Sequence[str | Task]
    optimizers: Sequence[str | Recipe] | Mapping[str, Any]
    _: KW_ONLY
    out: str | Path | None = None
    resume: bool = False
    baseline: str = ""
    axes: Mapping[str, Sequence[Any]] | None = None
    fixed: Mapping[str, Any] | None = None
    title: str = ""
    claim: str = ""
    device: str = "cpu"
    limit: float = LIMIT
    figures: bool = True
    force: bool = False

    @property
    def comparison(self) -> Comparison:
        """The comparison that these options describe."""
        names = [field.name for field in fields(ComparisonSettings)]
        return Comparison(
            variants(
                loaded(self.tasks),
                mapping_of("axes", self.axes, CompareError),
                mapping_of("fixed", self.fixed, CompareError),
            ),
            _recipes(self.optimizers),
            ComparisonSettings.read({name: getattr(self, name) for name in names}),
            self.baseline,
            self.title,
            self.claim,
            self.device,
        )


@keywords_of(CompareOptions)
@preserved_process()
def compare(options: CompareOptions) -> ComparisonResult:
    """Compare optimizers fairly: the same tuning for all, then fresh seeds, paired intervals.

    Returns:
        The result; with ``out`` its files are in that directory.

    Raises:
        OptforgeError: If an option, a task or an optimizer cannot be used; the message says what to
            do.

    Example:
        >>> from optforge.tasks import load_task
        >>> few = dict(trials=2, seeds=2, finalists=1, again=0, extensions=0, fixed={"steps": 10})
        >>> result = compare(["digits_mlp"], ["adamw", "lion"], workers=0, **few)
        >>> [(pair.recipe, pair.baseline) for pair in result.pairs]
        [('lion', 'adamw')]
    """
    place = Destination(options.out, options.resume, figures=options.figures, force=options.force)
    return conduct(options.comparison, place, options, options.limit)


@dataclass(frozen=True)
class Destination:
    """Where and how a comparison is stored.

    Args:
        out: The directory; None to store nothing.
        resume: Whether to continue from the cells in ``out``.
        definition: Definition to store, so that ``--resume`` needs only the directory.
        figures: Whether to draw figures.
        progress: Progress of the plan if it is part of a larger one.
        before_first: Called before the first run that the table lacks.
        force: Whether files in ``out`` that optforge did not write may be replaced.
    """

    out: str | Path | None = None
    resume: bool = False
    definition: Mapping[str, Any] | None = None
    figures: bool = True
    progress: Progress | None = None
    before_first: Callable[[], None] | None = None
    force: bool = False


@preserved_process()
def conduct(
    comparison: Comparison,
    place: Destination | None = None,
    machine: WorkOptions | None = None,
    limit: float = LIMIT,
) -> ComparisonResult:
    """Run a comparison and write its report after every task.

    Args:
        comparison: The comparison to run.
        place: Where it is stored; nowhere by default.
        machine: The workers, the display and the stop.
        limit: Time limit of one run in a worker, in seconds.
    """
    place, machine = place or Destination(), machine or WorkOptions()
    path = Path(place.out) if place.out is not None else None
    workers = machine.chosen_workers(CompareError, gpus=is_gpu(comparison.device))
    if path is not None:
        prepare(path, place.resume, place.definition, place.force)
    with CellTable(path / CELLS if path is not None else None) as table:

        def write(findings: Findings, *, draw: bool = False) -> None:
            if path is not None:
                write_report(comparison, findings, table.sessions, path, draw)

        runner = Runner(comparison.bench, table, workers, machine.watch, machine.stopping, limit)
        findings, stopped = run_comparison(
            comparison, runner, write, place.progress, place.before_first
        )
        write(findings, draw=place.figures)
        return ComparisonResult(comparison, findings, tuple(table.sessions), path, stopped)


def stored_names(path: Path) -> list[str]:
    """Return the names of the comparisons in a directory; an empty name if it is itself one."""
    inside = sorted(file.parent.name for file in path.glob(f"*/{DEFINITION}"))
    return inside if inside and not (path / DEFINITION).exists() else [""]


def stored_comparison(path: Path) -> tuple[Comparison, dict[str, Any]]:
    """Load the comparison of a directory and its definition."""
    definition = stored_definition(path)
    return comparison_from(definition), definition


def finished_runs(comparison: Comparison, path: Path) -> Finished:
    """Return the finished part of a comparison in a directory; None if it has no table."""
    if not (path / CELLS).exists():
        return Finished()
    with CellTable(path / CELLS, write=False) as table:
        return finished(comparison, table)


def prepare(
    path: Path,
    resume: bool,
    definition: Mapping[str, Any] | None = None,
    force: bool = False,
) -> None:
    """Create the directory of a comparison, and store the definition.

    Raises:
        CompareError: If it holds runs that are not to be resumed, cannot be created, or another
            process writes to it.
    """
    if _taken(path) and not resume:
        raise CompareError(f"{path} {_what_it_holds(path)}, or choose another directory")
    if path.exists() and not path.is_dir():
        raise CompareError(f"{path} is a file; a comparison needs a directory")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompareError(f"{path} cannot be made: {error.strerror}") from error
    lock = acquire_lock(path / CELLS)  # of a comparison that has only begun
    try:
        _claim(path, force)
        if definition is not None:
            store_definition(path, definition)
    finally:
        lock.release()


def _what_it_holds(path: Path) -> str:
    if (path / DEFINITION).exists():
        return f"already holds a comparison; resume it: {_HOW} {path}"
    return (
        f"holds {CELLS}, runs of a comparison without its definition, or a file of yours; go on "
        "with such runs from Python, by optforge.compare(..., resume=True)"
    )


def _claim(path: Path, force: bool) -> None:
    """Refuse a directory with other files that a comparison would replace."""
    names = (DEFINITION, REPORT_JSON, REPORT_MARKDOWN, *FIGURES)
    if force:
        begin_record(path, names)
    elif not (path / CELLS).exists():
        begin_record(path)
    check_own(path, names)


def _taken(path: Path) -> bool:
    """Return whether a directory holds runs; an attempt that failed at once leaves none."""
    file = path / CELLS
    return file.exists() and file.stat().st_size > 0


def _recipes(optimizers: Sequence[str | Path | Recipe] | Mapping[str, Any]) -> tuple[Recipe, ...]:
    if isinstance(optimizers, Mapping):
        return tuple(_recipe(name, optimizer) for name, optimizer in optimizers.items())
    several = [optimizers] if isinstance(optimizers, str | os.PathLike | Recipe) else optimizers
    listed = several if isinstance(several, Iterable) else [several]
    return tuple(map(_listed, listed))


def _listed(optimizer: Any) -> Recipe:
    optimizer = os.fspath(optimizer) if isinstance(optimizer, os.PathLike) else optimizer
    if isinstance(optimizer, str | Recipe):
        return optimizer if isinstance(optimizer, Recipe) else recipe_from(optimizer, {})
    raise CompareError(
        f"optimizers hold {optimizer!r}; give names, files or recipes, or a mapping from names to "
        'classes, as in {"mine": Mine}'
    )


def _recipe(name: str, optimizer: Any) -> Recipe:
    if isinstance(optimizer, Recipe):
        return replace(optimizer, name=name)
    return load_recipe(name, optimizer)
