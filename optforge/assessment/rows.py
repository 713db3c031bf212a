"""Names of the table's rows, and the row whose rule a run returns."""

from __future__ import annotations

from optforge.assessment.table import Table
from optforge.training import Trainee
from optforge.tuning import OPTIMIZERS, TITLES

NAMES = {optimizer: f"tuned {title}" for optimizer, title in TITLES.items()}
ADAMW, LION, MUON = (NAMES[optimizer] for optimizer in OPTIMIZERS)
CONSTANTS, FOUND = "constants only", "discovered"
STRAIGHT = "discovered, schedule straightened"
ONE_SETTING = ", one setting"  # for all tasks


def control_name(table: Table) -> str | None:
    """Return the name of the row whose constants alone were searched; None if there is none.

    The name may begin with another rule's, as in ``AdamW, constants only``.
    """
    names = [row.name for row in table.rows]
    return next((name for name in names if name.endswith(CONSTANTS)), None)


def shipped(table: Table) -> str | None:
    """Return the name of the row whose rule the run returns: discovered or with tuned constants."""
    return next((name for name in (FOUND, CONSTANTS) if table.has(name)), None)


def best_rule(table: Table) -> Trainee | None:
    """Return the rule that a run returns, tuned to one setting for all tasks, and its schedule.

    None if the table has no such row.
    """
    name = shipped(table)
    if name is None or not table.has(name + ONE_SETTING):
        return None
    return table.row(name + ONE_SETTING).trainees[table.proxies[0]]
