"""Versions that earlier cells were made with."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from optforge.comparison import (
    CELLS,
    CellTable,
)
from optforge.comparison.cells.runner import Runner
from optforge.comparison.comparison import run_comparison
from optforge.comparison.environment import other_versions
from tests.helpers.comparisons import few
from tests.helpers.displays import Heard


def test_other_versions_are_told_once_and_change_no_key(tmp_path: Path) -> None:
    heard, asked = Heard(), few("adamw", trials=1, seeds=1, finalists=1, again=0, extensions=0)
    with CellTable(tmp_path / CELLS) as table:
        run_comparison(asked, Runner(asked.bench, table, watch=heard))
    assert not any("Some cells are of" in text for text in heard.said)
    path = tmp_path / CELLS
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["session"]["torch"] = "1.13"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with CellTable(path) as table:
        count = len(table)
        run_comparison(asked, Runner(asked.bench, table, watch=heard))
        assert len(table) == count
    (told,) = [text for text in heard.said if "Some cells are of torch 1.13" in text]
    assert torch.__version__ in told and "--out" in told


def test_versions_that_decide_nothing_are_not_told() -> None:
    now = {"torch": "2", "optforge": "1", "workers": 4}
    assert other_versions([{"torch": "2", "optforge": "1", "workers": 2}], now) == ""
    assert other_versions([{"torch": "2"}, {"torch": "2", "optforge": "0"}], now).count("of") > 1
