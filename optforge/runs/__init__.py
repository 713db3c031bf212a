"""The run directory: one SQLite journal, the settings of the run and the files it leaves behind.

The journal is the state of a search: every proposal is a row, and resuming is reading. This room
does not depend on how a candidate is evaluated; it stores plain values and returns them.
"""

from __future__ import annotations

from optforge.runs.directory import RunDirectory, RunSummary, check_free, list_runs, new_run_path
from optforge.runs.file_names import HISTORY
from optforge.runs.journal import Journal
from optforge.runs.records import Event, Proposal, Verdict
from optforge.runs.session import Session

__all__ = [
    "HISTORY",
    "Event",
    "Journal",
    "Proposal",
    "RunDirectory",
    "RunSummary",
    "Session",
    "Verdict",
    "check_free",
    "list_runs",
    "new_run_path",
]
