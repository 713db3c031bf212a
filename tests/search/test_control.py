"""The control says whose constants it has, and on which data they were found."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from optforge.fitness import Baseline
from optforge.language import Program, load_rule, parse, round_constants
from optforge.search.finish import CONSTANTS, FOUND, ONE_SETTING, _contenders
from optforge.search.history import Candidate, History
from optforge.search.select import Finalist
from optforge.search.session import Plan
from optforge.tasks import load_task
from tests.helpers.searches import ADAMW, LION, small

MODULE = sys.modules[_contenders.__module__]  # `finish` is a function of the room as well
TASK = load_task("digits_mlp")
WINNER = Finalist(load_rule("signum").text, 0.0, -0.1, 16, 8.0, 9, 0.1)
CONTROL = parse("def train(w, g, lr):\n    lr = lr * 0.5\n    u = g * lr\n    return u")


def contenders(start: Program, found: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch,
               **changes: Any) -> tuple[dict[str, Program], list[str]]:  # fmt: skip
    settings = small(start=start.text, tasks=(TASK.name,), hashes=(TASK.hash,), **changes)
    tuned = {"adamw": Baseline("adamw", ADAMW, 0.0, 7), "lion": Baseline("lion", LION, 0.0, 7)}
    history = History(settings, ())
    history.phase = "structure"
    history.best = [Candidate(0.1, "f", start.text, "constants")]
    monkeypatch.setattr(MODULE, "stored", lambda: {"constants": found})
    made = Plan(settings, (TASK,), (), {TASK.name: tuned}, {})
    rows, notes = _contenders(made, history, WINNER)
    return {row.name: row.programs[TASK.name] for row in rows}, notes


def committed(digits: str) -> dict[str, Any]:
    return {"tasks": [TASK.name], "hashes": {TASK.name: digits}, "program": CONTROL.text,
            "programs": 99}  # fmt: skip


@pytest.mark.parametrize("digits", [TASK.hash, "another"])
def test_the_committed_control_of_adamw(digits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adamw = round_constants(load_rule("adamw"))
    rows, notes = contenders(adamw, committed(digits), monkeypatch)
    assert rows[CONSTANTS] == rows[CONSTANTS + ONE_SETTING] == CONTROL
    other = [note for note in notes if "another version of the data of digits_mlp" in note]
    assert len(other) == (digits != TASK.hash)
    assert all(note.startswith(f"{CONSTANTS}: found on") for note in other)


def test_it_is_named_where_the_search_began_with_another_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, notes = contenders(load_rule("lion"), committed(TASK.hash), monkeypatch)
    assert CONSTANTS not in rows and rows[f"AdamW, {CONSTANTS}"] == CONTROL
    assert any(note.startswith(f"For AdamW, {CONSTANTS} and {FOUND} learning") for note in notes)


def test_on_other_tasks_the_warm_start_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lion = load_rule("lion")
    for found in (None, committed(TASK.hash) | {"tasks": ["another"]}):
        rows, _ = contenders(lion, found, monkeypatch)
        assert rows[CONSTANTS] == lion


def test_a_search_over_constants_is_its_own_control(monkeypatch: pytest.MonkeyPatch) -> None:
    found = committed(TASK.hash)
    rows, _ = contenders(load_rule("lion"), found, monkeypatch, strategy="constants")
    assert rows[CONSTANTS] == load_rule("signum") and FOUND not in rows
