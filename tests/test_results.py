"""What the results of simplify hand back from Python: how they print, tables, frames."""

from __future__ import annotations

import pytest

import optforge
from optforge.api.simplify_result import SimplifyResult
from optforge.language import load_rule


@pytest.fixture(scope="module")
def simple() -> SimplifyResult:
    return optforge.simplify("program_8", exact=True)


def test_a_simple_rule_prints_in_a_line(simple: SimplifyResult) -> None:
    steps = len(simple.simplified.derivation.steps)
    assert repr(simple).startswith(f"SimplifyResult(9 statements after {steps} steps: ")
    assert simple.recognised.sentence in repr(simple) and "\n" not in repr(simple)
    assert simple.best is simple.program


def test_its_table_is_the_derivation(simple: SimplifyResult) -> None:
    table = simple.table
    assert len(table.rows) == len(simple.simplified.derivation.steps)
    assert table.title.startswith(f"From {len(load_rule('program_8').statements)} statements")
    assert table.rows[-1][1] == "9"


def test_its_frame_holds_connected_steps(simple: SimplifyResult) -> None:
    pytest.importorskip("pandas")
    frame = simple.to_frame()
    assert list(frame["before"][1:]) == list(frame["after"][:-1])
    assert frame["after"].iloc[-1] == simple.best.text
