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
    """The final results of a run.

    Args:
        finalists: The best programs on fresh seeds, best first.
        table: The fair table; its first row is the tuned AdamW.
        counts: Counts of the search: programs, rejections by stage, self-checks.
        explanation: How much of the gain is explained by tuning single things by hand. None if the
            settings for that are not shipped, so that `optforge explain` has to tune them.
    """

    finalists: tuple[Finalist, ...]
    table: Table
    counts: Mapping[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None

    @property
    def best(self) -> Finalist:
        """The winner of the selection, as it was in the search."""
        return self.finalists[0]

    @property
    def rule(self) -> Trainee:
        """The final rule of the run, tuned to one setting for all tasks."""
        return best_rule(self.table) or Trainee(self.best.program)

    @property
    def pareto(self) -> list[Finalist]:
        """The finalists that no other finalist dominates."""
        return pareto(self.finalists)


def finish(plan: SearchPlan, history: History, trainer: Trainer) -> Finish | None:
    """Choose the winner on fresh seeds, then measure it fairly; None if nothing was judged.

    Args:
        plan: Plan of the run.
        history: History of the search.
        trainer: Trains everything that is measured.
    """
    if not history.best:
        return None
    adamw = {task: tuned["adamw"].trainee for task, tuned in plan.baselines.items()}
    finalists = select(trainer, history, plan.settings, adamw, plan.effort)
    rows, notes = contenders(plan, history, finalists[0].program, trainer)
    held_out = [task.name for task in plan.held_out]
    table = build_table(trainer, rows, plan.settings.tasks, held_out, notes, plan.effort)
    explanation = explain_shipped(plan, table, trainer) if table.has(FOUND) else None
    counts = history.tally.plain()
    return Finish(tuple(finalists), table, counts, explanation)
