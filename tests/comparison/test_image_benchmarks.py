"""The scripts beside the suite of image experiments, at sizes that say nothing."""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import stats

from optforge.api.comparison import Destination, conduct
from optforge.api.keywords import WorkOptions
from optforge.comparison import Cell, Comparison, ComparisonSettings, load_recipe, variants
from optforge.comparison.cells.train import run_cell
from optforge.report.comparison import style as comparison_style
from optforge.report.comparison.sweep_tables import best_text
from optforge.tasks import load_task
from optforge.tasks.images.finetune import FineTuneTask
from tests.helpers.tiny import Blobs

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
SCRIPTS = ("collect_images", "finetune_images", "image_memory", "compare_overhead")


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that are quick to draw."""
    monkeypatch.setattr(comparison_style, "_DPI", 20)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    threads = torch.get_num_threads()
    yield import_module
    torch.set_num_threads(threads)
    for name in [n for n in sys.modules if n in SCRIPTS or n.split(".")[0] == "measures"]:
        del sys.modules[name]


@pytest.mark.slow
def test_fine_tuning_goes_on_where_it_was_and_gives_all_the_same_trials(
    script: Callable[[str], ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("timm")
    built: list[FineTuneTask] = []
    build = FineTuneTask.data
    monkeypatch.setattr(FineTuneTask, "data", lambda task: (built.append(task), build(task))[1])
    out, weights = tmp_path / "out", tmp_path / "weights"
    asked = ["--quick", "--out", str(out), "--weights", str(weights), "--workers", "0",
             "--optimizers", "adamw,lion"]  # fmt: skip
    main = script("finetune_images").main
    main([*asked, "--plan"])
    assert "Pre-trainings that seeds" in capsys.readouterr().out and not out.exists()
    built.clear()
    main(asked)
    assert len(built) == 1  # not once for every cell
    told = json.loads((out / "report.json").read_text())
    assert list(told["tasks"]) == ["pre-trained", "from scratch"]
    trials = [(one["task"], one["trials"]) for one in told["optimizers"]]
    assert len(set(trials)) == 2  # on each of the two tasks the same for all
    runs = [of["runs"]["adamw"][0]["test_loss"] for of in told["tasks"].values()]
    assert runs[0] != runs[1]  # the weights do matter
    # For each optimizer one seed of tuning, one of choosing and two of measuring.
    files = sorted(weights.iterdir())
    assert len(files) == 2 * 4

    cells = (out / "cells.jsonl").read_bytes()
    for file in files:
        file.unlink()
    main(asked)  # nothing is missing, so nothing is pre-trained either
    assert (out / "cells.jsonl").read_bytes() == cells and not list(weights.iterdir())

    lines = cells.splitlines(keepends=True)
    (out / "cells.jsonl").write_bytes(b"".join(lines[:-9]))
    main(asked)
    again = json.loads((out / "report.json").read_text())
    assert again["tasks"] == told["tasks"]


def test_pre_training_is_what_was_tuned_for_it_schedule_and_groups_included(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    finetune = script("finetune_images")
    task, setting = Blobs(), (("lr", 0.03), ("warmup", 0.3), ("decay_power", 3.0))
    recipes = {name: load_recipe(name) for name in ("adamw", "muon")}
    (before,) = variants([task], {}, {})
    started = finetune.Started(
        {}, recipes, "cpu", before, dict.fromkeys(recipes, setting), tmp_path
    )
    for name, recipe in recipes.items():
        cell = Cell("after", name, (("lr", 0.01),), 5)
        wanted: list[dict[str, torch.Tensor]] = []
        run_cell(before, recipe, Cell(before.label, name, setting, 5),
                 keep=lambda model, kept=wanted: kept.append(model.state_dict()))  # fmt: skip
        plain: list[dict[str, torch.Tensor]] = []
        run_cell(before, recipe, Cell(before.label, name, setting[:1], 5),
                 keep=lambda model, kept=plain: kept.append(model.state_dict()))  # fmt: skip
        saved = torch.load(started.weights_of(cell), weights_only=True)["model"]
        assert all(torch.equal(saved[key], value) for key, value in wanted[0].items())
        assert not all(torch.equal(saved[key], value) for key, value in plain[0].items())


@pytest.mark.parametrize(
    ("before", "after", "claim"),
    [
        ("glyphs_vit_tiny", "finetune_vit_tiny", "table 3"),
        ("glyphs_vit_tiny", "basic_glyphs_small", "zero-shot"),
        ("basic_glyphs_small", "finetune_vit_tiny", "table 1: fine-tuned"),
    ],
)
def test_two_stages_have_the_claim_that_they_test_and_their_own_steps(
    script: Callable[[str], ModuleType], before: str, after: str, claim: str
) -> None:
    pytest.importorskip("timm")
    finetune = script("finetune_images")
    options = finetune.read_options(["--before", before, "--after", after, "--steps", "7"])
    first, second = finetune.tasks(options)
    assert (first.task.steps, second.task.steps) == (load_task(before).steps, 7)
    assert claim in finetune.claim_of(first, second)


def test_quick_figures_stay_away_from_the_committed_ones(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finetune = script("finetune_images")
    monkeypatch.setattr(finetune.tempfile, "tempdir", str(tmp_path))
    quick, whole = finetune.read_options(["--quick"]), finetune.read_options([])
    for options in (quick, whole):
        finetune.choose_folders(options)
    assert quick.out.parent == tmp_path and quick.weights.parent == quick.out
    assert (whole.out, whole.weights) == (finetune.RESULTS, finetune.WEIGHTS)


def test_fine_tuning_that_is_stopped_says_so_without_a_traceback(
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finetune = script("finetune_images")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "work", interrupted)
    with pytest.raises(SystemExit) as left:
        finetune.main([])
    assert left.value.code == 130 and "Stopped; what is finished is kept" in capsys.readouterr().out


def test_the_page_of_all_experiments_has_what_the_reports_have(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    comparison = Comparison(
        variants([Blobs()], {"batch_size": [8, 16, 32]}, {}),
        (load_recipe("adamw"), load_recipe("lion")),
        ComparisonSettings(trials=2, seeds=3, finalists=1, again=0, extensions=0, heat_map=(2, 2),
                 extras=("flatness",)),
        title="Batch",
        claim="a claim",
    )  # fmt: skip
    conduct(comparison, Destination(tmp_path / "batch", figures=False), WorkOptions(workers=0))
    script("collect_images").main(["--folder", str(tmp_path)])
    text = (tmp_path / "README.md").read_text()
    report = json.loads((tmp_path / "batch" / "report.json").read_text())
    for one in report["optima"]:
        best = best_text(one["best"], [8, 16, 32])
        assert f"| {one['recipe']} | {best} | {one['low']:g} to" in text
    assert "points within 10 % of its best" in text and "Not finished: 3 of 7 tasks" in text
    assert text.count("| Blobs[batch_size=8] | lion |") == 2  # once for the losses, once flatness
    noisy = next(m for m in report["measured"] if m["name"] == "loss_under_absolute_noise_0.02")
    assert f"| {noisy['task']} | {noisy['recipe']} | {noisy['mean']:.4g} |" in text


def test_no_experiment_of_the_suite_is_left_out_of_the_page(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    collect = script("collect_images")
    collect.main(["--folder", str(tmp_path)])
    with collect.SUITE.open("rb") as file:
        names = [one["name"] for one in tomllib.load(file)["experiment"]]
    assert (
        f"Not run yet: {', '.join([*names, 'finetune'])}." in (tmp_path / "README.md").read_text()
    )


def test_what_is_not_known_leaves_the_page_a_blank(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    """One seed has no interval, a map that diverged no share, a pair that diverged no change."""
    comparison = Comparison(
        variants([Blobs()], {}, {}),
        (load_recipe("adamw"), load_recipe("lion")),
        ComparisonSettings(trials=1, seeds=1, finalists=1, again=0, extensions=0, heat_map=(2, 2),
                 sweep_seeds=1, extras=("flatness",)),
        title="One seed",
    )  # fmt: skip
    conduct(comparison, Destination(tmp_path / "map", figures=False), WorkOptions(workers=0))
    file = tmp_path / "map" / "report.json"
    report = json.loads(file.read_text())
    for one in report["maps"]:
        one["share"]["mean"] = None
    file.write_text(json.dumps(report))
    script("collect_images").main(["--folder", str(tmp_path)])
    text = (tmp_path / "README.md").read_text()
    assert "| Blobs | lion |" in text and "| Blobs, lion | - |  |" in text and "None" not in text


def test_p_values_of_the_reach_are_corrected(script: Callable[[str], ModuleType]) -> None:
    collect = script("collect_images")
    rows = [{"p": p} for p in (0.01, math.nan, 0.03)]
    assert collect.corrected(rows) == pytest.approx([0.03, math.nan, 0.06], nan_ok=True)


def test_lion_on_the_middle_model_is_held_against_adamw_on_the_large_one(
    script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = script("collect_images")
    monkeypatch.setattr(collect, "flops", {collect.MIDDLE: 10, collect.LARGE: 40}.__getitem__)
    generator = np.random.default_rng(2)
    mine, other = np.exp(generator.normal([[0.0], [0.1]], 0.1, size=(2, 10)))

    def runs(losses: np.ndarray) -> list[dict[str, object]]:
        return [{"test_loss": x, "failed": "", "diverged": False} for x in losses]

    report = {"tasks": {
        f"{collect.MIDDLE}[steps=200]": {"steps": 200, "runs": {"lion": runs(mine)}},
        f"{collect.LARGE}[steps=100]": {"steps": 100, "runs": {"adamw": runs(other)}},
    }}  # fmt: skip
    row = list(collect.reach(report))[-2]
    expected = stats.ttest_ind(np.log(mine), np.log(other), equal_var=False).confidence_interval()
    ends = [f"{100 * (math.exp(x) - 1):+.1f}" for x in expected]
    assert f"[{ends[0]}, {ends[1]}]" in row and row.endswith("| 50 % |")
    lost = [*runs(mine), {"test_loss": None, "failed": "", "diverged": True}]
    assert math.isnan(collect.welch(collect.log_losses(lost), [0.0, 1.0])["mean"])


def test_flops_of_a_step_are_those_of_its_matrix_products(
    script: Callable[[str], ModuleType],
) -> None:
    """64 examples through 64-64-10; the first layer needs no gradient of its inputs."""
    first, second = 64 * 64, 64 * 10
    expected = 2 * 64 * (2 * (first + second) + second)
    assert script("collect_images").flops("digits_mlp") == expected


def test_memory_of_a_model_is_counted_from_its_shapes(
    script: Callable[[str], ModuleType],
) -> None:
    pytest.importorskip("timm")
    memory = script("image_memory")
    options = memory.read_options(["--quick"])
    (row,) = memory.computed(options)
    count = row["parameters"]
    assert row["model"] == "vit_s16" and 21e6 < count < 24e6
    tensors = len(list(memory.paper_model("vit_s16", device="meta").parameters()))
    # Weights and gradients; two moments and a counter for each tensor; one moment.
    assert row["bytes"]["AdamW"] == (8 + 8) * count + 4 * tensors
    assert row["bytes"]["Lion"] == (8 + 4) * count
    assert row["bytes"]["Lion bfloat16"] == (8 + 2) * count
    assert 8 * count < row["bytes"]["Adafactor bfloat16"] < row["bytes"]["Adafactor"]


@pytest.mark.slow
def test_memory_and_speed_at_tiny_sizes(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    pytest.importorskip("timm")
    file = tmp_path / "memory.json"
    script("image_memory").main(["--quick", "--json", str(file)])
    told = json.loads(file.read_text())
    assert told["quick"] and len(told["steps"]["rows"]) == 8 and told["tried"]


def test_the_bare_loop_and_the_harness_train_and_test_the_same(
    script: Callable[[str], ModuleType],
) -> None:
    task = Blobs()
    row = script("compare_overhead").measure(task, 2, 2)  # it fails where losses differ
    assert row["seconds_a_run"] > 0
    assert all(row[kind]["ratio"] > 0 for kind in ("without_curve", "with_curve"))
