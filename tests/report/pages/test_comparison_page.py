"""The page of a comparison: its figures hold what was measured, its text is escaped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.api.comparison import Destination, conduct
from optforge.api.keywords import WorkOptions
from optforge.comparison import compare_pairs
from optforge.comparison.suite import comparison_from
from optforge.report.pages.blocks import Words
from optforge.report.pages.render import render
from optforge.report.pages.tuning_figures import coordinates
from optforge.report.pages.write import page_of
from tests.helpers.compared_page import compared, results, rows_of
from tests.helpers.page_runs import HOSTILE

NAMES = ["differences", "curves", "rates", "coordinates", "trials", "maps"]
SMALL = {
    "tasks": ["digits_mlp"], "optimizers": ["adamw", "lion"], "fixed": {"steps": 10},
    "settings": {"trials": 2, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0},
}  # fmt: skip


def rows(name: str) -> list[dict[str, Any]]:
    return rows_of(compared(), name)


def test_the_forest_shows_the_pairs_with_the_luck_of_the_tuning() -> None:
    (pair,) = compare_pairs(results()[1])
    (row,) = rows("differences")
    assert row["mean"] == pytest.approx(100 * math.expm1(pair.test_loss.mean), rel=1e-4)
    assert row["low"] <= row["mean"] <= row["high"]
    assert row["luck_low"] <= row["luck_high"]
    assert pair.verdict in row["words"] and row["name"] == HOSTILE


def test_the_outcome_is_said_first() -> None:
    (pair,) = compare_pairs(results()[1])
    first = [b.text for b in compared().sections[0].blocks if isinstance(b, Words)]
    assert first[0] == f"Put to the test (a claim, not a finding): {HOSTILE}"
    assert first[1] == f"Test loss against tuned adamw: {pair.verdict}: {pair.recipe}."


def test_curves_and_trials_are_those_of_the_runs() -> None:
    (result,) = results()[1].tasks
    final = result.tuned["adamw"].finals[0].curve
    assert [r["step"] for r in rows("curves") if r["optimizer"] == "adamw"] == [p[0] for p in final]
    assert all(r["low"] <= r["loss"] <= r["high"] for r in rows("curves"))
    tried = [r for r in rows("rates") if r["optimizer"] == "adamw" and r["series"] == "trial"]
    kept = [t for t in result.tuned["adamw"].trials if not any(o.diverged for o in t.outcomes)]
    assert sorted(r["rate"] for r in tried) == pytest.approx(
        sorted(dict(trial.setting)["lr"] for trial in kept), rel=1e-5
    )
    best = [r["best"] for r in rows("trials") if r["optimizer"] == "adamw"]
    assert best == sorted(best, reverse=True)
    assert len(rows("maps")) == 8


def test_parallel_coordinates_hold_each_trial_with_its_rank() -> None:
    (result,) = results()[1].tasks
    for name, tuned in result.tuned.items():
        own = [row for row in rows("coordinates") if row["optimizer"] == name]
        assert [row["trial"] for row in own] == [*range(1, 1 + len(tuned.trials))]
        rates = [dict(trial.setting)["lr"] for trial in tuned.trials]
        assert [row["lr"] for row in own] == pytest.approx(rates, rel=1e-5)
        ranked = sorted((row for row in own if row["rank"] is not None), key=lambda r: r["rank"])
        losses = [row["loss"] for row in ranked]
        assert losses == sorted(losses)
        assert (ranked[0]["rank"], ranked[-1]["rank"]) == (0, 100)


def test_a_trial_that_diverged_has_no_rank() -> None:
    findings = results()[1]
    (task,) = findings.tasks
    tuned = task.tuned["adamw"]
    lost = replace(tuned.trials[0].outcomes[0], diverged=True)
    trials = (replace(tuned.trials[0], outcomes=(lost,)), *tuned.trials[1:])
    changed = replace(task, tuned={**task.tuned, "adamw": replace(tuned, trials=trials)})
    figure = coordinates(replace(findings, tasks=(changed,)))
    assert figure is not None
    first, *others = figure.rows[: len(trials)]
    assert first["rank"] is None and first["loss"] is None and first["lr"] > 0
    assert {0, 100} <= {row["rank"] for row in others}


def test_every_figure_compiles_and_markup_is_text(plots: Any) -> None:
    page = compared()
    assert [figure.name for figure in page.figures] == NAMES
    for figure in page.figures:
        data = {"values": [dict(row) for row in figure.rows]}
        assert "<svg" in plots.vegalite_to_svg({**figure.spec, "data": data, "width": 500})
    html = render(page)
    assert html.count("</script>") == 3
    words = html.split('<script type="application/json"')[0]
    assert "<script" not in words and "<img" not in words and "&lt;img src=x" in words


def test_a_directory_is_read_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Destination(tmp_path, definition=SMALL, figures=False)
    conduct(comparison_from(SMALL), place, WorkOptions(workers=0))
    cells = (tmp_path / "cells.jsonl").read_bytes()
    monkeypatch.setattr("optforge.comparison.cells.runner.Runner.run", None)
    page = page_of(tmp_path)
    assert page.state == "finished"
    assert [figure.name for figure in page.figures] == NAMES[:5]
    assert (tmp_path / "cells.jsonl").read_bytes() == cells


def test_a_comparison_without_a_complete_task_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text(json.dumps(SMALL))
    (tmp_path / "cells.jsonl").write_text("")
    page = page_of(tmp_path)
    assert page.state == "0 of 1 tasks complete"
    assert [section.name for section in page.sections] == ["summary", "settings"]
