"""A whole funnel on tiny tasks: what it promotes, writes, resumes and refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import optforge
from optforge.api.funnel import plan_funnel
from optforge.api.funnel_options import FunnelOptions
from optforge.api.funnel_result import FunnelResult
from optforge.cli.app import app
from optforge.errors import FunnelError, OptforgeError, RunError, TaskError
from optforge.language import load_rule, rule_text
from optforge.promotion import OptimizerFactory, Script, Stage, read_ladder
from optforge.promotion.stage import stored_ladder
from optforge.report.pages.blocks import Words
from optforge.report.pages.write import page_of
from optforge.runs import Journal, RunDirectory
from optforge.tasks import Schedule
from optforge.training import Trainee
from tests.helpers.searches import small, tiny_plan, train_search
from tests.helpers.tiny import Blobs, Sums

RUNNER = CliRunner()
SMALL: dict[str, Any] = {"trials": 4, "workers": 0, "candidates": 3}


class Longer(Sums):
    """A second stage."""

    steps = 24


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of a moment."""
    path = tmp_path_factory.mktemp("runs") / "first"
    train_search(path, tiny_plan(small()), 120)
    return path


def stages() -> list[Any]:
    return [Blobs(), Longer()]


def decisions(path: Path) -> list[tuple[int, str, str]]:
    with Journal.open(path / "journal.sqlite", write=False) as journal:
        return [(e.batch, e.kind, json.dumps(e.detail)) for e in journal.events()]


@pytest.fixture(scope="module")
def whole(search: Path, tmp_path_factory: pytest.TempPathFactory) -> FunnelResult:
    out = tmp_path_factory.mktemp("funnels") / "whole"
    return optforge.funnel(search, ladder=stages(), out=out, **SMALL)


def test_a_funnel_leaves_figures_page_and_journal(whole: FunnelResult) -> None:
    assert not whole.stopped and whole.stages and whole.planned == ("Blobs", "Longer")
    first = whole.stages[0]
    assert 1 <= len(first.entrants) <= 3 and first.trials == 4
    assert len(whole.table.rows) == len(first.entrants)
    assert "Funnel" in (whole.path / "funnel.md").read_text()
    stored = json.loads((whole.path / "funnel.json").read_text())["stages"]
    assert [s["stage"] for s in stored] == [s.name for s in whole.stages]
    kinds = [kind for _, kind, _ in decisions(whole.path)]
    assert kinds[0] == "funnel candidates" and kinds.count("funnel tuned") == len(whole.stages)
    assert repr(whole).startswith("FunnelResult(")
    assert (whole.best is None) == (not first.promoted)
    page = page_of(whole.path)
    assert page.state == "finished" and page.title == f"Funnel {whole.path.name}"
    words = page.sections[0].blocks[0]
    assert isinstance(words, Words) and words.text == whole.verdict


def test_only_what_was_promoted_enters_the_next_stage(whole: FunnelResult) -> None:
    for before, after in zip(whole.stages, whole.stages[1:], strict=False):
        promoted = [e.candidate.number for e in before.promoted]
        assert [e.candidate.number for e in after.entrants] == promoted
    assert len(whole.stages) == 2 or not whole.stages[-1].promoted


def test_a_frame_has_a_row_for_each_stage_and_candidate(whole: FunnelResult) -> None:
    pytest.importorskip("pandas")
    assert len(whole.to_frame()) == sum(len(s.entrants) for s in whole.stages)


@pytest.mark.parametrize("stopped_after", [1, 3, 9])
def test_stopped_anywhere_it_comes_to_the_same_end(
    search: Path, whole: FunnelResult, tmp_path: Path, stopped_after: int
) -> None:
    calls = iter(range(10**9))
    result = optforge.funnel(
        search, ladder=stages(), out=tmp_path / "f", stop=lambda: next(calls) >= stopped_after,
        **SMALL,
    )  # fmt: skip
    assert result.stopped and "resume" in result.verdict
    again = optforge.funnel(search, ladder=stages(), out=tmp_path / "f", resume=True, workers=0)
    assert not again.stopped and decisions(again.path) == decisions(whole.path)
    assert (again.path / "funnel.json").read_text() == (whole.path / "funnel.json").read_text()


def test_another_decision_than_the_stored_one_is_refused(search: Path, tmp_path: Path) -> None:
    result = optforge.funnel(search, ladder=[Blobs()], out=tmp_path / "f", **SMALL)
    losses = result.path / "losses"
    changed = [f"{line.split()[0]} 0.123\n" for line in losses.read_text().splitlines()]
    losses.write_text("".join(changed))
    with pytest.raises(RunError, match="decided something else"):
        optforge.funnel(search, ladder=[Blobs()], out=tmp_path / "f", resume=True, workers=0)


def test_seeds_of_tuning_judging_and_stages_differ(search: Path, tmp_path: Path) -> None:
    trained = set()

    def watching(make: Callable[..., Any], seed: int) -> float:
        del make
        trained.add(seed)
        return 1.0

    watching.cache_key = "1"  # type: ignore[attr-defined]
    optforge.funnel(search, ladder=[watching], out=tmp_path / "f", **SMALL)
    assert len(trained) == 2 + 4 + 6  # tuned, tuned again, judged and found hopeless


def fit(make: OptimizerFactory, seed: int) -> float:
    """A user's training script."""
    torch.manual_seed(seed)
    model, data = nn.Linear(4, 1), torch.randn(64, 4)
    optimizer = make(model, steps=20)
    scheduler = make.scheduler(optimizer, steps=20)
    loss = torch.zeros(())
    for _ in range(20):
        loss = ((model(data) - data.sum(1, keepdim=True)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return loss.item()


def test_a_script_trains_with_rule_and_schedule() -> None:
    adamw = Script(fit, "fit").loss(Trainee(load_rule("adamw"), Schedule()), 3)
    quick = load_rule("adamw").text.replace("0.001", "0.1")
    better = Script(fit, "fit").loss(Trainee(optforge.parse(quick), Schedule()), 3)
    assert 0 < better < adamw
    assert better == Script(fit, "fit").loss(Trainee(optforge.parse(quick), Schedule()), 3)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_loss_is_as_bad_as_diverged(value: float) -> None:
    script = Script(lambda make, seed: value, "odd")
    assert script.loss(Trainee(load_rule("lion")), 0) == math.inf


def test_a_script_that_returns_nothing_is_one_sentence(search: Path, tmp_path: Path) -> None:
    def forgetful(make: OptimizerFactory, seed: int) -> None:
        del make, seed

    forgetful.cache_key = "1"  # type: ignore[attr-defined]
    with pytest.raises(OptforgeError, match="forgetful returned None; return a loss"):
        optforge.funnel(search, ladder=[forgetful], out=tmp_path / "f", **SMALL)


def test_the_command_line_takes_a_script_and_a_ladder_file(search: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def train(make, seed):\n"
        "    torch.manual_seed(seed)\n"
        "    model = nn.Linear(2, 1)\n"
        "    optimizer = make(model, steps=3)\n"
        "    for _ in range(3):\n"
        "        loss = (model(torch.ones(4, 2)) ** 2).mean() + 0.1\n"
        "        optimizer.zero_grad(); loss.backward(); optimizer.step()\n"
        "    return loss\n"
    )
    ladder = tmp_path / "ladder.toml"
    ladder.write_text(
        f'[[stage]]\nscript = "{tmp_path}/mine.py:train"\ntrials = 2\nseeds = [2, 4]\nkeep = 2\n'
    )
    out = ["--out", str(tmp_path / "f"), "--workers", "0"]
    shown = RUNNER.invoke(app, ["funnel", str(search), "--ladder", str(ladder), "--plan"])
    assert shown.exit_code == 0 and "time of the scripts" in shown.output, shown.output
    done = RUNNER.invoke(app, ["funnel", str(search), "--ladder", str(ladder), *out, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["stages"][0]["stage"] == "train" and len(found["stages"][0]["candidates"]) <= 2
    again = RUNNER.invoke(app, ["funnel", str(search), *out, "--resume"])
    assert again.exit_code == 0 and "In " in again.output, again.output
    twice = RUNNER.invoke(app, ["funnel", str(search), *out])
    assert twice.exit_code == 1 and "continue it with --resume" in twice.output


def test_a_class_of_any_name_is_a_task(tmp_path: Path) -> None:
    """One in small letters was called as a script."""
    (tmp_path / "mine.py").write_text(
        "from optforge.tasks.registry import DigitsMLP\n\n"
        "class small(DigitsMLP):\n    cache_key = 'small'\n\n"
        "def train(make, seed):\n    return 1.0\n"
    )
    stages = read_ladder([f"{tmp_path}/mine.py:{name}" for name in ("small", "train")])
    assert [type(stage.source).__name__ for stage in stages] == ["small", "Script"]


def test_a_plan_counts_without_training(search: Path) -> None:
    plan = plan_funnel(FunnelOptions(search, ladder=[Blobs()], trials=4, workers=0))
    (cost,) = plan.costs
    assert cost.seconds is not None and cost.seconds > 0
    assert cost.trainings == Stage(Blobs(), 4, (6, 12, 24), 16).trainings(cost.candidates)
    assert "1 stages" in repr(plan)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"candidates": 0}, FunnelError, "at least 1"),
        ({"alpha": 0.7}, FunnelError, "below 0.5"),
        ({"baseline": "sgd"}, FunnelError, "allowed are adamw"),
        ({"ladder": []}, FunnelError, "at least one"),
        ({"ladder": [Blobs(), Blobs()]}, FunnelError, "twice"),
        ({"ladder": ["photo_field"]}, TaskError, "set aside"),
        ({"ladder": "missing.toml"}, FunnelError, "cannot be read"),
        ({"ladder": "missing.py:train"}, FunnelError, "cannot be read"),
        ({"resume": True}, FunnelError, "no funnel to resume"),
    ],
)
def test_wrong_options_are_one_sentence(
    search: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        optforge.funnel(search, **{"out": tmp_path / "f", "ladder": [Blobs()], **options})
    assert not (tmp_path / "f").exists()


def test_a_stage_that_changed_is_refused() -> None:
    stage = Stage(Blobs(), 4, (2, 4), 3)
    assert stored_ladder([stage.stored()], [stage]) == (Stage(stage.source, 4, (2, 4), 3),)
    with pytest.raises(RunError, match="hand it over again"):
        stored_ladder([stage.stored()])
    with pytest.raises(RunError, match="not what it was"):
        stored_ladder([{**stage.stored(), "hash": "0"}], [stage])


def test_the_shipped_ladder_narrows() -> None:
    ladder = read_ladder()
    assert [s.name for s in ladder] == list(optforge.tasks.ladder_task_names())
    assert all(a.keep > b.keep and a.trials >= b.trials for a, b in zip(ladder, ladder[1:]))  # noqa: B905
    assert all(s.looks[-1] >= 15 for s in ladder)


def test_a_run_without_verdicts_is_one_sentence(tmp_path: Path) -> None:
    settings = tiny_plan(small(start=rule_text("lion"))).stored()
    RunDirectory.create(tmp_path / "empty", settings).close()
    with pytest.raises(FunnelError, match="no program that was judged"):
        optforge.funnel(tmp_path / "empty", ladder=[Blobs()], workers=0)
