"""A stored search is drawn again: each program follows from the settings and the verdicts."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from optforge.errors import RunError
from optforge.evolution import Search
from optforge.evolution.redraw import redraw, redraw_run
from optforge.execution import InlineExecutor
from optforge.jobs import JobRunner
from optforge.runs import Journal
from tests.helpers.searches import invented_search, pretend, rows, small, tiny_plan, train_search

SETTINGS: dict[str, Any] = {"seed_sets": 3, "restart_after": 60}


def again(journal: Journal, **changes: Any) -> Search:
    def nothing(job: Any) -> Any:
        raise AssertionError("nothing is to be trained")

    executor = InlineExecutor(lambda: nothing)
    return invented_search(small(**SETTINGS | changes), JobRunner(executor, journal))


def test_all_programs_are_drawn_again_and_the_journal_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    pretend(path, small(**SETTINGS), 300)
    before = rows(path)
    with Journal.open(path, write=False) as journal:
        assert redraw(again(journal)) == len(before["proposals"])
        assert 100 <= redraw(again(journal), 100) < 200
    assert rows(path) == before


CHANGES = {
    "a program": "program = replace(program, 'interp', 'maximum')",
    "a constant": "program = replace(program, '0.9', '0.7')",
    "a parent": "parent = parent + 1",
    "a mutation": "mutation = 'by hand'",
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_program_that_was_put_in_by_hand_is_found(tmp_path: Path, change: str) -> None:
    path = tmp_path / "journal.sqlite"
    pretend(path, small(**SETTINGS), 200)
    with sqlite3.connect(path) as database:
        before = database.execute("SELECT * FROM proposals WHERE number = 97").fetchall()
        database.execute(f"UPDATE proposals SET {CHANGES[change]} WHERE number = 97")
        assert database.execute("SELECT * FROM proposals WHERE number = 97").fetchall() != before
    database.close()
    with (
        Journal.open(path, write=False) as journal,
        pytest.raises(RunError, match="program 97 of the journal is not what"),
    ):
        redraw(again(journal))


def test_other_verdicts_or_settings_lead_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    pretend(path, small(**SETTINGS), 300)
    with (
        Journal.open(path, write=False) as journal,
        pytest.raises(RunError, match="another version, or was changed"),
    ):
        redraw(again(journal, seed=1))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE verdicts SET fitness = -9.0, trace = '[-9.0, -9.0]' WHERE id = 3")
    database.close()
    with Journal.open(path, write=False) as journal, pytest.raises(RunError):
        redraw(again(journal))


def test_a_run_that_trained_is_drawn_again_from_its_file(tmp_path: Path) -> None:
    plan = tiny_plan(small())
    train_search(tmp_path / "run", plan, 60)
    found = redraw_run(tmp_path / "run" / "journal.sqlite", tasks=plan.tasks)
    assert found == len(rows(tmp_path / "run" / "journal.sqlite")["proposals"]) >= 60
