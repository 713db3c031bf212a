"""The result of a search: the rule, the table, and the location of its files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optforge.ablation import SimpleRule
from optforge.assessment.finish import Finish
from optforge.assessment.table import Row, Table
from optforge.errors import SearchError
from optforge.evolution.history import History
from optforge.language import Program
from optforge.report.frame import to_frame
from optforge.report.search.page import search_html
from optforge.report.search.verdict import verdict
from optforge.runs import Journal

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Args:
        path: Directory of the run.
        finish: Finalists, table and verdict; None if no program was judged before the end.
        history: Counts, and the best programs of each phase.
        stopped: Whether it was stopped before its budget was used up.
        simple: The simple form of the discovered rule, with its derivation; None if it was not
            simplified.
    """

    path: Path
    finish: Finish | None
    history: History
    stopped: bool
    simple: SimpleRule | None = None

    def __repr__(self) -> str:
        programs = self.history.tally.proposals
        if self.stopped:
            end = f"stopped; resume with optforge.resume({str(self.path)!r})"
        elif self.finish is None:
            end = "no program was judged"
        else:
            end = self.verdict
        return f"SearchResult({str(self.path)!r}, {programs:,} programs: {end})"

    def _repr_html_(self) -> str:
        """Return verdict, rule and table for a notebook."""
        words = f"<p>{escape(repr(self))}</p>"
        return words if self.finish is None else search_html(self.finish)

    @property
    def best(self) -> Program:
        """The discovered rule, tuned to one setting for all tasks.

        Raises:
            SearchError: If the search ended before any program was judged.
        """
        return self._finished.rule.program

    @property
    def table(self) -> Table:
        """The fair table: the rule and the tuned baselines on fresh seeds and test data.

        Raises:
            SearchError: If the search ended before any program was judged.
        """
        return self._finished.table

    @property
    def verdict(self) -> str:
        """The conclusion from the table, in a sentence or two."""
        return verdict(self.table)

    @property
    def journal(self) -> Journal:
        """The journal of the run, opened for reading; close it after use."""
        return Journal.open(self.path / "journal.sqlite", write=False)

    def to_frame(self) -> DataFrame:
        """Return the table as a ``pandas.DataFrame``, one row per contender and task.

        ``mean``, ``low`` and ``high`` are differences in log test loss to the first contender,
        paired by seed, with the 95 % interval.

        Raises:
            OptforgeError: If pandas is not installed, or no program was judged.
        """
        table = self.table
        return to_frame([line for row in table.rows for line in _lines(row, table)])

    @property
    def _finished(self) -> Finish:
        if self.finish is None:
            raise SearchError("the search ended before any program was judged; give it more time")
        return self.finish


def _lines(row: Row, table: Table) -> list[dict[str, Any]]:
    cost = {"state_bytes": row.state_bytes, "step_seconds": row.step_seconds, "trials": row.trials}
    return [
        {"contender": row.name, "task": task, "held_out": task in table.held_out}
        | asdict(interval)
        | cost
        for task, interval in row.tasks.items()
    ]
