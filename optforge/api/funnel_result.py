"""The result of a funnel: its stages, its table, its best rule."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from optforge.language import Program
from optforge.promotion.cost import StageCost
from optforge.promotion.result import StageResult
from optforge.report.frame import to_frame
from optforge.report.promotion.page import best_entrant, cost_words, funnel_table, funnel_verdict
from optforge.report.text_table import TextTable

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class FunnelPlan:
    """What a funnel would cost.

    Args:
        costs: The largest cost of each stage.
        workers: Number of processes; 0 for this one.
    """

    costs: tuple[StageCost, ...]
    workers: int

    def __repr__(self) -> str:
        return f"FunnelPlan({len(self.costs)} stages, {cost_words(self.costs, self.workers)})"


@dataclass(frozen=True)
class FunnelResult:
    """Result of a funnel.

    Args:
        path: Directory of the funnel.
        stages: Results of the finished stages.
        planned: Names of all stages.
        baseline: Name of the optimizer to beat.
        stopped: Whether it was stopped before its end.
    """

    path: Path
    stages: tuple[StageResult, ...]
    planned: tuple[str, ...]
    baseline: str
    stopped: bool = False

    def __repr__(self) -> str:
        return f"FunnelResult({str(self.path)!r}: {self.verdict})"

    def _repr_html_(self) -> str:
        """Return verdict and table for a notebook."""
        return f"<p><b>{escape(self.verdict)}</b></p>{self.table.html()}"

    @cached_property
    def table(self) -> TextTable:
        """A row for each candidate and a column for each finished stage."""
        return funnel_table(self.stages)

    @property
    def verdict(self) -> str:
        """What was found, in a sentence or two."""
        return funnel_verdict(self.stages, self.baseline, not self.stopped, len(self.planned))

    @property
    def best(self) -> Program | None:
        """The best rule of the last stage in which any candidate beat the baseline, tuned for it.

        None if none did in any stage.
        """
        best = best_entrant(self.stages)
        return None if best is None else best[1].trainee.program

    def to_frame(self) -> DataFrame:
        """Return a ``pandas.DataFrame`` with one row per stage and candidate.

        ``mean``, ``low`` and ``high`` are differences in log validation loss to the baseline,
        paired by seed, with the 95 % interval; ``corrected_p_value`` is one-sided.

        Raises:
            OptforgeError: If pandas is not installed.
        """
        return to_frame(
            [
                {
                    "stage": stage.name,
                    "program": e.candidate.number,
                    "outcome": e.judgement.outcome,
                    **asdict(e.judgement.effect),
                    "corrected_p_value": e.judgement.p_value,
                    "tuned_loss": e.tuned_loss,
                }
                for stage in self.stages
                for e in stage.entrants
            ]
        )
