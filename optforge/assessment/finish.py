"""The end of a run: winner, table, explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optforge.assessment.contend import contenders
from optforge.assessment.explain import Explanation, explain_shipped
from optforge.assessment.rows import FOUND, best_rule
from optforge.assessment.select import Finalist, pareto, select
from optforge.assessment.table import Table, build_table
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.jobs import Trainer
from optforge.training import Trainee


@dataclass(frozen=True)
class Finish:
    """What a run ends with.

    Args:
        finalists: The best on fresh seeds, the best first.
        table: The fair table; its first row is the tuned AdamW.
        counts: What the search did: programs, rejections by stage, checks of itself.
        explanation: How much of the gain single things explain that anybody may tune; None where
            the settings for that are not shipped, so that `optforge explain` has to tune them.
    """

    finalists: tuple[Finalist, ...]
    table: Table
    counts: Mapping[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None

    @property
    def best(self) -> Finalist:
        """The winner of the selection, as the search left it."""
        return self.finalists[0]

    @property
    def rule(self) -> Trainee:
        """The rule that the run ends with, tuned to one setting for all tasks."""
        return best_rule(self.table) or Trainee(self.best.program)

    @property
    def pareto(self) -> list[Finalist]:
        """The finalists that no other beats in everything."""
        return pareto(self.finalists)


def finish(made: SearchPlan, history: History, trainer: Trainer) -> Finish | None:
    """Choose the winner on fresh seeds, then measure it fairly; None if nothing was judged.

    Args:
        made: Of the run.
        history: Of the search.
        trainer: Trains whatever is measured.
    """
    if not history.best:
        return None
    adamw = {task: of["adamw"].trainee for task, of in made.baselines.items()}
    finalists = select(trainer, history, made.settings, adamw)
    rows, notes = contenders(made, history, finalists[0].program, trainer)
    held_out = [task.name for task in made.held_out]
    table = build_table(trainer, rows, made.settings.tasks, held_out, notes)
    explanation = explain_shipped(made, table, trainer) if table.has(FOUND) else None
    counts = history.tally.plain()
    return Finish(tuple(finalists), table, counts, explanation)
