"""The picture of a search's history."""

from __future__ import annotations

from pathlib import Path

from optforge.report.search.history import draw_history
from optforge.runs.journal import Journal


def test_a_search_that_ended_before_its_first_batch_has_a_picture(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal.sqlite", {})
    try:
        assert draw_history(journal).startswith(b"\x89PNG")
    finally:
        journal.close()
