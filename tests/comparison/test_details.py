"""Devices, counts of a plan, targets, versions, and the last line of a table."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from optforge.comparison import (
    CELLS,
    Cell,
    CellResult,
    CellTable,
    Comparison,
    ComparisonSettings,
    load_recipe,
)
from optforge.comparison.cells.runner import Runner
from optforge.comparison.comparison import expected, run_comparison
from optforge.comparison.cost import counts
from optforge.comparison.environment import environment, other_versions
from optforge.comparison.protocol import derived_target
from optforge.comparison.result import TaskResult, Tuned
from optforge.comparison.studies import study
from optforge.errors import CompareError
from tests.helpers.comparisons import few
from tests.helpers.displays import Heard
from tests.helpers.tiny import Blobs

ONE = Cell("t", "adamw", (("lr", 0.1),), 1)


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "", 3])
def test_a_device_that_is_not_there_is_refused(device: Any) -> None:
    asked = few("adamw")
    with pytest.raises(CompareError, match="use cpu"):
        Comparison(asked.variants, asked.recipes, asked.settings, device=device)


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(CompareError, match="'cuda' was asked for.*GPUs that torch sees here: 0"):
        replace(few("adamw"), device="cuda")


def test_the_device_told_is_the_one_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=0: "a large one")
    assert environment(1)["device"] == "cpu"
    assert environment(1, device="cuda")["device"] == "a large one"


def test_a_plan_counts_no_more_than_can_come() -> None:
    settings = ComparisonSettings(
        trials=2, extensions=0, finalists=3, again=2, heat_map=(5, 4), sweep_seeds=1
    )
    adamw, rates = load_recipe("adamw"), load_recipe("adamw").tuning(("lr",))
    assert counts(settings, adamw) == (2 + 2 * 2, 10, 20)
    assert counts(settings, rates) == (2 + 2 * 2, 10, 5)


class Bad(torch.optim.SGD):
    """Diverges always."""

    def step(self, closure: Any = None) -> Any:
        for p in self.param_groups[0]["params"]:
            p.data.fill_(math.nan)


def test_the_bar_ends_at_its_end_where_nothing_could_be_chosen() -> None:
    bad = load_recipe("bad", Bad, space={"lr": [0.01, 0.1]})
    asked = few(bad, trials=2, seeds=2, sensitivity=2, heat_map=(2, 2), studies=1, extensions=0)
    progress = expected(asked, 0)
    run_comparison(asked, CellTable(None), progress=progress, before_first=lambda: None)
    assert progress.done == progress.total == 2


def test_the_bar_ends_at_its_end_where_less_was_needed_than_could_be() -> None:
    asked = few("adamw", "sgd", trials=2, seeds=2, finalists=9, extra=2, heat_map=(2, 1))
    progress = expected(asked, 0)
    run_comparison(asked, CellTable(None), progress=progress, before_first=lambda: None)
    assert progress.done == progress.total
    assert progress.total == sum(share.cells for share in progress.shares.values())


def test_a_derived_target_is_the_median_and_waits_for_every_run() -> None:
    def run(loss: float) -> CellResult:
        return CellResult(
            steps=4, curve=((2, 9.0, 0.0, 0.0), (3, loss, 0.0, 0.0), (4, 0.1, 0.0, 0.0))
        )

    runs = [run(float(n)) for n in range(1, 11)]
    assert derived_target(runs) == 5.5
    assert derived_target([*runs, CellResult(failed="died")]) is None
    assert derived_target([]) is None


def test_studies_of_neighbouring_seeds_have_nothing_in_common() -> None:
    seen: list[list[Cell]] = []

    class Noting(Runner):
        def run(self, cells: Any, purpose: str) -> list[CellResult]:
            seen.append(list(cells))
            return [CellResult() for _ in cells]

    for seed in (0, 1):
        asked = few("adamw", studies=3, seed=seed)
        result = TaskResult(asked.variants[0], {"adamw": _empty()}, target=0.5)
        study(result, asked.tuned_recipes, asked.settings, Noting(asked.bench, CellTable(None)))
    settings = [{cell.setting for cell in cells} for cells in seen]
    assert len(settings[0]) == len(settings[1]) == 15 and settings[0].isdisjoint(settings[1])


def _empty() -> Any:
    return Tuned("adamw", load_recipe("adamw").space, (), (), None)


def filled(path: Path) -> bytes:
    with CellTable(path / CELLS) as table:
        table.describe({"torch": "1"})
        table.add("a", ONE, CellResult(loss=0.5))
    return (path / CELLS).read_bytes()


def test_a_whole_last_line_without_an_end_is_kept(tmp_path: Path) -> None:
    content = filled(tmp_path)
    (tmp_path / CELLS).write_bytes(content[:-1])
    with CellTable(tmp_path / CELLS, write=False) as table:
        assert "a" in table
    with CellTable(tmp_path / CELLS) as table:
        table.add("b", ONE, CellResult(loss=0.25))
        assert "a" in table
    lines = (tmp_path / CELLS).read_text().splitlines()
    assert [json.loads(line).get("key") for line in lines] == [None, "a", "b"]


@pytest.mark.parametrize("row", ["[1]", "7", "null", '"a"'])
def test_a_row_that_is_no_object_is_told(tmp_path: Path, row: str) -> None:
    filled(tmp_path)
    with (tmp_path / CELLS).open("a") as file:
        file.write(row + "\n")
    with pytest.raises(CompareError, match=r"line 3 of .* not a row of a comparison .*not an obj"):
        CellTable(tmp_path / CELLS)


def test_other_versions_are_told_once_and_change_no_key(tmp_path: Path) -> None:
    heard, asked = Heard(), few("adamw", trials=1, seeds=1, finalists=1, again=0, extensions=0)
    with CellTable(tmp_path / CELLS) as table:
        run_comparison(asked, table, watch=heard)
    assert not any("Some cells are of" in text for text in heard.said)
    path = tmp_path / CELLS
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["session"]["torch"] = "1.13"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with CellTable(path) as table:
        count = len(table)
        run_comparison(asked, table, watch=heard)
        assert len(table) == count
    (told,) = [text for text in heard.said if "Some cells are of torch 1.13" in text]
    assert torch.__version__ in told and "--out" in told


def test_versions_that_decide_nothing_are_not_told() -> None:
    now = {"torch": "2", "optforge": "1", "workers": 4}
    assert other_versions([{"torch": "2", "optforge": "1", "workers": 2}], now) == ""
    assert other_versions([{"torch": "2"}, {"torch": "2", "optforge": "0"}], now).count("of") > 1


def test_a_plan_is_timed_on_the_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = importlib.import_module("optforge.comparison.cost")
    seen: list[str] = []

    def noting(*arguments: Any) -> CellResult:
        seen.append(arguments[3])
        return CellResult(step_ms=1.0, seconds=1.0)

    monkeypatch.setattr(cost, "run_cell", noting)
    asked = few("adamw", task=Blobs())
    cost.estimate(asked.variants, asked.tuned_recipes, asked.settings, "cpu:0")
    assert seen == ["cpu:0", "cpu:0"]
