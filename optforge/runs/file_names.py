"""The names of the files that a run writes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from optforge.files import RECORD

JOURNAL = "journal.sqlite"
SETTINGS = "settings.json"
BEST = "best.py"
TABLE_JSON = "table.json"
TABLE_MARKDOWN = "table.md"
HISTORY = "history.png"
LOSSES = "losses"  # of all that was trained outside of the search
# Written beside the rule as found.
SIMPLE = ("simple.py", "simplify.json", "simplify.md", "update.png")
START = "start.py"  # the warm start as given
EXPLANATION, EXPLANATION_PAGE = "explain.json", "explain.md"
OURS = (
    JOURNAL, *(f"{JOURNAL}{end}" for end in ("-wal", "-shm", ".lock")), RECORD, SETTINGS, START,
    BEST, TABLE_JSON, TABLE_MARKDOWN, HISTORY, LOSSES, *SIMPLE, EXPLANATION, EXPLANATION_PAGE,
)  # fmt: skip


def best_of(task: str) -> str:
    """Return the name of the file with the rule tuned for one task."""
    return "best_" + re.sub(r"[^\w.-]", "_", task) + ".py"


def file_names(tasks: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names of all files that a run on these tasks may write."""
    return (*OURS, *map(best_of, tasks))
