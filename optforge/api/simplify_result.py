"""The result of a simplification: the simple rule, and its derivation as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optforge.ablation.result import SimpleRule
from optforge.language import Program
from optforge.report.frame import to_frame
from optforge.report.simplify.page import derivation_table
from optforge.report.text_table import TextTable

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class SimplifyResult(SimpleRule):
    """Result of a simplification."""

    def __repr__(self) -> str:
        count, steps = len(self.program.statements), len(self.simplified.derivation.steps)
        return f"SimplifyResult({count} statements after {steps} steps: {self.recognised.sentence})"

    @property
    def best(self) -> Program:
        """The simple rule; the same as :attr:`program`."""
        return self.program

    @property
    def table(self) -> TextTable:
        """The derivation: a row for each step."""
        return derivation_table(self)

    def to_frame(self) -> DataFrame:
        """Return the derivation as a ``pandas.DataFrame`` with one row per step.

        ``before`` and ``after`` are the texts of the programs.

        Raises:
            OptforgeError: If pandas is not installed.
        """
        steps = self.simplified.derivation.steps
        names = ("kind", "why", "before", "after")
        return to_frame([{name: getattr(step, name) for name in names} for step in steps])
