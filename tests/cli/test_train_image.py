"""``optforge train-image``: from pictures to a checkpoint, and plain sentences for mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optforge.cli.app import app
from optforge.images import PRESETS
from tests.helpers.pictures import folders

GIVEN = ["vit_b16", "--data", "PLACE", "--out", "OUT"]
TINY = [
    "--steps",
    "2",
    "--batch-size",
    "6",
    "--image-size",
    "32",
    "--reduced",
    "--workers",
    "0",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folders(tmp_path_factory.mktemp("pictures") / "data", train=4, held=2))


def call(*words: str):  # noqa: ANN201
    return CliRunner().invoke(app, ["train-image", *words])


def test_it_trains_logs_stops_and_resumes(place: str, tmp_path: Path) -> None:
    words = ["vit_s16", "--data", place, "--out", str(tmp_path / "run"), *TINY]
    begun = call(*words, "--stop-after", "1")
    assert begun.exit_code == 0, begun.stderr
    assert "lion (lr 0.001, weight decay 1, betas 0.9 0.99)" in " ".join(begun.stdout.split())
    assert "1 of 2 steps" in begun.stdout
    ended = call(*words, "--resume")
    assert "going on from step 1" in " ".join(ended.stdout.split())
    assert "2 of 2 steps" in ended.stdout and "top-1" in ended.stdout
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["number"] for line in log if "loss" in line] == [1, 2]
    assert log[0]["plan"]["settings"]["weight_decay"] == 1.0


def test_brackets_in_a_folder_are_no_markup(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "run[bold]1"
    done = call("vit_s16", "--data", place, "--out", str(folder), *TINY)
    assert done.exit_code == 0 and "run[bold]1" in done.stdout.replace("\n", "")


def test_the_list_names_every_preset() -> None:
    shown = call("--list").stdout
    assert [name for name in PRESETS if name not in shown] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "PRESET and --data and --out must be given"),
        (["nosuch", "--data", "PLACE", "--out", "OUT"], "unknown preset 'nosuch'; there are"),
        (["vit_b16", "--data", "OUT", "--out", "OUT"], "is not a folder"),
        (["vit_b16", "--data", "PLACE", "--out", "OUT", "--optimizer", "sgd"], "gives no settings"),
        (["vit_b16", "--data", "PLACE", "--out", "OUT", "--device", "quantum"], "no device"),
        ([*GIVEN, "--accumulation", "0"], "accumulation is 0; allowed are whole numbers from 1"),
        ([*GIVEN, "--batch-size", "0"], "batch_size is 0; allowed are whole numbers from 1"),
        ([*GIVEN, "--warmup-steps", "-5"], "warmup_steps is -5; allowed are whole numbers from 0"),
        ([*GIVEN, "--betas", "1.5", "0.9"], "the first beta is 1.5"),
        ([*GIVEN, "--epochs", "nan"], "epochs is nan"),
        ([*GIVEN, "--stop-after", "0"], "stop_after is 0; allowed are whole numbers from 1"),
        ([*GIVEN, "--device", "meta"], "device 'meta' cannot train here"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], said: str, place: str, tmp_path: Path) -> None:
    put = {"PLACE": place, "OUT": str(tmp_path / "out")}
    done = call(*[put.get(word, word) for word in words])
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error:") and said in " ".join(done.stderr.split())
