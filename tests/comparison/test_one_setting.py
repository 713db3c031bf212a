"""The third ruleset: one setting for all tasks, by the steps to the tuned baseline's loss."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.api.comparison import Destination, conduct
from optforge.api.keywords import WorkOptions
from optforge.comparison import Cell, CellResult, CellTable, load_recipe
from optforge.comparison.cells.runner import Runner
from optforge.comparison.finished import finished
from optforge.comparison.one_setting import final_losses, log_credit, one_setting
from optforge.comparison.result import TaskResult, TunedSetting
from optforge.report.comparison.sweep_tables import with_one_setting
from tests.helpers.comparisons import few


def run_of(*losses: float, **more: Any) -> CellResult:
    curve = tuple((n + 1, loss, 0.0, 0.0) for n, loss in enumerate(losses))
    return CellResult(loss=losses[-1], curve=curve, steps=len(losses), **more)


def test_credit_is_capped_both_ways() -> None:
    def credit(outcome: CellResult) -> float:
        return math.exp(log_credit(outcome, 0.5, 10))

    assert credit(run_of(0.9, 0.9, 0.9, 0.9, 0.5, 0.1)) == pytest.approx(2.0)
    assert credit(run_of(0.1)) == pytest.approx(4.0)
    assert credit(run_of(0.9, 0.8)) == pytest.approx(0.25)
    assert credit(run_of(0.1, diverged=True)) == pytest.approx(0.25)


def results_of(asked: Any, *finals: CellResult) -> list[TaskResult]:
    tuned = TunedSetting("adamw", load_recipe("adamw").space, (), (), None, finals=finals)
    return [TaskResult(variant, {"adamw": tuned}, (1, 2, 3)) for variant in asked.variants]


def test_targets_are_medians_of_whole_final_runs() -> None:
    asked = few("adamw")
    runs = [run_of(loss) for loss in (0.3, 0.1, 0.2)]
    assert set(final_losses(results_of(asked, *runs), "adamw").values()) == {0.2}
    assert final_losses(results_of(asked, *runs, CellResult(failed="died")), "adamw") == {}
    assert final_losses(results_of(asked, *runs, run_of(9.0, diverged=True)), "adamw") == {}


def test_one_setting_is_the_same_on_all_tasks_and_the_best_by_the_rule() -> None:
    asked = few("adamw", "lion", one_setting=3)
    seen: list[Cell] = []

    class Noting(Runner):
        def run(self, cells: Any, purpose: str) -> list[CellResult]:
            seen.extend(cells)
            return [run_of(1.0, 0.2 if dict(c.setting)["lr"] < 0.01 else 0.9) for c in cells]

    runner = Noting(asked.bench, CellTable(None))
    results = results_of(asked, run_of(0.5))
    rows = one_setting(results, asked.tuned_recipes, asked.settings, runner, "adamw")
    assert [row.recipe for row in rows] == ["adamw", "lion"] and rows[0].trials == 3
    for row in rows:
        fresh = [c for c in seen if c.recipe == row.recipe and c.seed in (1, 2, 3)]
        assert {c.setting for c in fresh} == {row.setting} and not any(c.until for c in seen)
        assert {c.task for c in fresh} == {v.label for v in asked.variants}
        tried = {c.setting for c in seen if c.recipe == row.recipe}
        assert len(tried) == 3
        best = any(dict(setting)["lr"] < 0.01 for setting in tried)
        assert row.setting is not None and (dict(row.setting)["lr"] < 0.01) == best
    assert one_setting(results, asked.tuned_recipes, few("adamw").settings, runner, "adamw") == ()


def test_a_comparison_has_the_table_resumes_and_counts_its_runs(tmp_path: Path) -> None:
    asked = few("adamw", "lion", one_setting=2)
    place = Destination(tmp_path / "c", figures=False)
    result = conduct(asked, place, WorkOptions(workers=0))
    table = with_one_setting(result.findings)
    assert table is not None and {row[0] for row in table.rows} == {"adamw", "lion"}
    assert "One setting for all tasks" in (tmp_path / "c" / "report.md").read_text()
    with CellTable(tmp_path / "c" / "cells.jsonl", write=False) as cells:
        known, count = finished(asked, cells), len(cells)
    assert known.tasks == {variant.label for variant in asked.variants}
    again = conduct(asked, replace(place, resume=True), WorkOptions(workers=0))
    assert again.findings.one_setting == result.findings.one_setting
    with CellTable(tmp_path / "c" / "cells.jsonl", write=False) as cells:
        assert len(cells) == count
    more = few("adamw", "lion", one_setting=3)
    with CellTable(tmp_path / "c" / "cells.jsonl", write=False) as cells:
        assert finished(more, cells).tasks == frozenset()
