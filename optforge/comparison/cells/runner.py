"""Running cells: those in the table are read from it, the others are trained by workers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optforge.comparison.cells.cell import Cell, CellResult
from optforge.comparison.cells.cell_table import CellTable
from optforge.comparison.cells.train import run_cell
from optforge.comparison.cells.variant import Variant
from optforge.comparison.progress import Progress
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.result import not_positive
from optforge.errors import CompareError, real_number
from optforge.execution import Executor, Failed, Workers, process_count, start_executor
from optforge.jobs import Display, JobError, JobRunner, Silent

LIMIT = 600.0  # seconds that one cell may take before its process is killed


@dataclass(frozen=True)
class CellJob:
    """A job that trains one cell; if it is lost, its result is a failure."""

    cell: Cell

    def parts(self) -> list[CellJob]:
        """Return the job itself, as a cell has no parts."""
        return [self]

    def joined(self, results: Sequence[CellResult | Failed]) -> CellResult | Failed:
        """Return the only result."""
        return results[0]

    def lost(self, failure: Failed) -> Failed:
        """Return a failure, which the table does not store."""
        return failure


@dataclass(frozen=True)
class Bench:
    """The tasks (by label) and recipes (by name) of the cells; it is sent to workers."""

    variants: Mapping[str, Variant]
    recipes: Mapping[str, Recipe]
    device: str = "cpu"

    def key(self, cell: Cell) -> str:
        """Return the key of a cell."""
        variant = self.variants[cell.task]
        recipe_key = self.recipes[cell.recipe].content_key
        return cell.key(variant.task.hash, recipe_key, variant.period, self.device)

    def answer(self, cell: Cell) -> CellResult:
        """Train a cell; runs in a worker."""
        return run_cell(self.variants[cell.task], self.recipes[cell.recipe], cell, self.device)


class Runner:
    """Answers cells, from the table first; a context manager that stops its workers.

    Args:
        bench: The tasks and recipes.
        table: Table of finished cells.
        workers: Number of single-threaded worker processes, here or on a cluster; 0 to run in
            this process.
        watch: A display.
        stop: Called between cells; True ends the run.
        limit: Time limit of a cell in a worker, in seconds; without workers there is no limit.

    Attributes:
        progress: Progress of the whole plan; shown after every cell.
        before_first: Called once, before the first cell that the table lacks.

    A cell is not stored in the table if its process dies twice or exceeds the time limit, or if it
    fails after its first step with finite numbers. Nothing final follows from it, and a resumed
    comparison tries it again.
    """

    def __init__(
        self,
        bench: Bench,
        table: CellTable,
        workers: Workers = 0,
        watch: Display | None = None,
        stop: Callable[[], bool] = lambda: False,
        limit: float = LIMIT,
    ) -> None:
        self.bench, self.table, self.workers = bench, table, workers
        self.limit = checked_limit(limit)
        self.failed: dict[str, CellResult] = {}
        self.watch: Display = watch or Silent()
        self.stop = stop
        self.before_first: Callable[[], None] = lambda: None
        self.progress = Progress({}, process_count(workers))
        self._executor: Executor | None = None
        self._said: set[tuple[str, str, str]] = set()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def run(self, cells: Sequence[Cell], purpose: str) -> list[CellResult]:
        """Return the results of cells, in their order.

        Args:
            cells: The cells; equal ones are computed once.
            purpose: Description of the work, for the display and the table.

        Raises:
            StoppedError: If a stop was requested.
            CompareError: If a cell cannot be computed because of its settings or its task, or a
                loss is negative.
        """
        keys = [self.bench.key(cell) for cell in cells]
        known = self.table.keys() | self.failed.keys()
        missing = {k: c for k, c in zip(keys, cells, strict=True) if k not in known}
        for cell, key in zip(cells, keys, strict=True):
            if key not in missing:
                _check_losses(cell, self.failed.get(key) or self.table[key])
                self.progress.reused(cell.task)
        self.progress.purpose = purpose
        self._show()
        if missing:
            self._compute(missing, purpose)
        return [self.failed[key] if key in self.failed else self.table[key] for key in keys]

    def _show(self) -> None:
        state = self.progress
        what = ": ".join(filter(None, (state.task, state.purpose)))  # no task before a first cell
        self.watch.progress(what, state.done, state.total, state.seconds_left)

    def _compute(self, missing: Mapping[str, Cell], purpose: str) -> None:
        cells = list(missing.items())
        runner = JobRunner(
            self._started(),
            watch=lambda what, done, total: self._show(),
            stop=self.stop,
            retry_timeouts=False,  # a cell that takes too long would do so again
        )
        results = runner.run([CellJob(cell) for _, cell in cells])
        try:
            for number, result in results:
                self._finish(*cells[number], result, purpose)
        except JobError as error:
            raise refused(error.job.cell, error.detail) from None

    def _finish(self, key: str, cell: Cell, result: CellResult | Failed, purpose: str) -> None:
        if isinstance(result, Failed):
            outcome = CellResult(failed=result.detail)
            self.watch.say(_unfinished(cell, result))
        else:
            outcome = result
            self._say_failure(cell, outcome)
        _check_losses(cell, outcome)
        if outcome.failed:
            self.failed[key] = outcome
        else:
            self.table.add(key, cell, outcome, purpose)
        self.progress.finished(cell.task, outcome.seconds)

    def _say_failure(self, cell: Cell, outcome: CellResult) -> None:
        """Report why a run failed after its first step, once per kind of failure."""
        kind = (cell.task, cell.recipe, outcome.failed.partition(":")[0])
        if outcome.failed and kind not in self._said:
            self._said.add(kind)
            self.watch.say(
                f"A run of {cell.recipe} on {cell.task} is left out: after {outcome.steps} steps "
                f"{outcome.failed}; further failures of this kind are not listed; --resume tries "
                "them again"
            )

    def _started(self) -> Executor:
        if self._executor is None:
            self.before_first()
            factory = functools.partial(_make_answer, self.bench)
            self._executor = start_executor(factory, self.workers, self.limit)
        return self._executor


def _make_answer(bench: Bench) -> Callable[[CellJob], CellResult]:
    return lambda job: bench.answer(job.cell)


def checked_limit(limit: float) -> float:
    """Return the time limit of a cell in seconds.

    Raises:
        CompareError: If it is not above 0.
    """
    return real_number("the limit of a run", limit, above=0, infinite=True, wrong=CompareError)


def _check_losses(cell: Cell, outcome: CellResult) -> None:
    """Reject negative losses; exactly 0 is a perfect fit in float32, and its log has a floor."""
    for what, loss in (("validation", outcome.loss), ("test", outcome.test_loss)):
        if math.isfinite(loss) and loss < 0:
            raise not_positive(cell.task, f"the {what} loss of {cell.recipe} after training", loss)


def _unfinished(cell: Cell, outcome: Failed) -> str:
    what = f"A run of {cell.recipe} on {cell.task} is left out: {outcome.detail}"
    if outcome.reason == "timeout":
        return f"{what}; allow more with --limit SECONDS and --resume, or make its task shorter"
    return f"{what}; --resume tries it again"


def refused(cell: Cell, detail: str) -> CompareError:
    """Return the error for a cell whose first step failed.

    Args:
        cell: The cell that failed.
        detail: The traceback; its last line becomes part of the message, all of it a note.
    """
    last = detail.strip().splitlines()[-1]
    settings = ", ".join(f"{name}={value:g}" for name, value in cell.setting)
    error = CompareError(
        f"{cell.recipe} ({settings}) cannot be trained on {cell.task}: "
        f"{last.removeprefix('optforge.errors.CompareError: ')}"
    )
    error.add_note(detail)
    return error
