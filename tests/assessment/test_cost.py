"""What a search would cost: counts by hand, and the command that prints them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optforge.api.search_cost import search_cost
from optforge.api.search_options import SearchOptions
from optforge.assessment.cost import SearchCost, TaskCost
from optforge.cli.app import app
from optforge.errors import SearchError
from optforge.report.search.cost import cost_sentences
from optforge.tuning.trainees import Effort
from tests.helpers.tiny import Blobs


def test_what_a_task_of_ones_own_needs_is_counted() -> None:
    effort = Effort.of(8)
    cost = TaskCost.of(Blobs(), 0.5, effort, is_own=True, judging=6)
    assert cost.before == effort.expected_runs == 8 * 3 - 5 * 2 + 3 * 3
    assert cost.judging == 6 and cost.steps == Blobs.steps
    assert cost.after > 14 * 8 + 5 * effort.expected_runs  # so lightly tuned, 8 of 24 seeds
    held_out = TaskCost.of(Blobs(), 0.5, effort, is_own=True, judging=0)
    assert held_out.after == 5 * effort.expected_runs + 14 * 8


def test_times_follow_from_the_counts() -> None:
    task = TaskCost("a", 10, 20, steps=5, seconds=0.5, before=8, judging=6, after=40)
    cost = SearchCost((task,), workers=2, device="cpu", minutes=3.0, programs=None)
    assert (cost.before, cost.verdict, cost.searching, cost.after) == (2.0, 3.0, 180.0, 10.0)
    assert cost.total == 192.0
    short = SearchCost((task,), workers=2, device="cpu", minutes=3.0, programs=100)
    assert 0 < short.searching < 100 * cost.verdict / 2
    endless = SearchCost((task,), workers=2, device="cpu", minutes=None, programs=None)
    assert math.isinf(endless.total)
    assert "no limit" in " ".join(cost_sentences(endless))


def test_a_plan_measures_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path / "cache"))
    options = SearchOptions([Blobs()], held_out=[], minutes=1, workers=1, trials=4)
    cost = search_cost(options)
    (task,) = cost.tasks
    assert task.before == Effort(4).expected_runs and task.seconds > 0
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SearchError, match="device 'cuda:99'"):
        search_cost(SearchOptions([Blobs()], device="cuda:99"))


def test_the_command_prints_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "search",
        "--plan",
        "--tasks",
        "digits_mlp",
        "--held-out",
        "none",
        "--minutes",
        "2",
        "--workers",
        "1",
    ]
    result = CliRunner().invoke(app, [*words, "--minutes", "2", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "digits_mlp" in result.output and "All together about" in result.output
    assert not (tmp_path / "runs").exists()
