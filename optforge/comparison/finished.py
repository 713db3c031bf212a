"""The finished part of a plan: the protocol runs over the table and computes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from optforge.comparison.cells.cell import Cell, CellResult
from optforge.comparison.cells.cell_table import CellTable
from optforge.comparison.cells.runner import Runner
from optforge.comparison.comparison import Comparison, one_setting_of
from optforge.comparison.protocol import compare_on
from optforge.comparison.result import Findings, TaskResult
from optforge.comparison.studies import study
from optforge.comparison.sweep import sweep
from optforge.errors import StoppedError


@dataclass(frozen=True)
class Finished:
    """How much of a plan is in the table.

    Args:
        tasks: Labels of the complete tasks.
        runs: Number of finished runs by task and optimizer. Runs that depend on a task's first
            missing run cannot be known and are not counted.
        findings: Results of the complete tasks.
    """

    tasks: frozenset[str] = frozenset()
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: Findings = field(default_factory=lambda: Findings((), ""))

    def left(self, task: str, recipe: str, planned: int) -> int:
        """Return the largest number of planned runs that remain."""
        return 0 if task in self.tasks else max(0, planned - self.runs[task, recipe])


def finished(comparison: Comparison, table: CellTable) -> Finished:
    """Read the part of a comparison that is in a table."""
    runs: Counter[tuple[str, str]] = Counter()
    done: list[TaskResult] = []
    reader = _TableReader(comparison, table, runs)
    recipes, settings = comparison.tuned_recipes, comparison.settings
    for variant in comparison.variants:
        try:
            result = compare_on(variant, recipes, settings, reader, comparison.against)
            done.append(study(sweep(result, settings, reader), recipes, settings, reader))
        except StoppedError:
            continue
    results, rows = tuple(done), ()
    try:
        if len(done) == len(comparison.variants):
            rows = one_setting_of(comparison, done, reader)
    except StoppedError:
        done = []  # of each task some runs are missing
    findings = Findings(results, comparison.against, settings.objective, rows)
    return Finished(frozenset(result.variant.label for result in done), runs, findings)


class _TableReader(Runner):
    """Answers cells from the table, counts them, and stops at the first missing one."""

    def __init__(
        self, comparison: Comparison, table: CellTable, runs: Counter[tuple[str, str]]
    ) -> None:
        super().__init__(comparison.bench, table)
        self._runs = runs

    def run(self, cells: Sequence[Cell], purpose: str) -> list[CellResult]:
        del purpose
        keys = [self.bench.key(cell) for cell in cells]
        known = [key in self.table for key in keys]
        self._runs.update((c.task, c.recipe) for c, k in zip(cells, known, strict=True) if k)
        if not all(known):
            raise StoppedError
        return [self.table[key] for key in keys]
