"""The folder of a training: what resuming refuses, the log, checkpoints, and kills."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from paper import folder
from paper.folder import CHECKPOINT, read_checkpoint, save_checkpoint
from paper.images import Training, load_preset
from paper.options import TrainingError
from paper.training import train
from tests.helpers.pictures import picture

TINY: dict[str, Any] = {"steps": 5, "batch_size": 4, "image_size": 32, "reduced": True, "lr": 1e-3}
TINY |= {"cpu": True, "workers": 0, "evaluate_every": 2}


def run(place: str, out: Path, **changes: Any) -> dict[str, float]:
    return train(load_preset("vit_s16", data=place, out=str(out), **{**TINY, **changes}), Training)


def number(out: Path) -> int:
    return read_checkpoint(out / CHECKPOINT)["number"]


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def kill_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the training when a step is in the log, before its checkpoint."""
    add = folder.Log.add

    def dying(self: folder.Log, **content: Any) -> None:
        add(self, **content)
        if content.get("number") == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(folder.Log, "add", dying)


def test_other_trainings_and_damage_are_refused(place: str, tmp_path: Path) -> None:
    run(place, tmp_path, stop_after=1)
    with pytest.raises(TrainingError, match="has a training already"):
        run(place, tmp_path)
    with pytest.raises(TrainingError, match="has steps = 5, asked for is 2"):
        run(place, tmp_path, resume=True, steps=2)
    with pytest.raises(TrainingError, match="has micro_batches = 1, asked for is 2"):
        run(place, tmp_path, resume=True, accumulation=2)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="cannot be read"):
        run(place, tmp_path, resume=True)
    torch.save({"weights": 1}, tmp_path / CHECKPOINT)
    with pytest.raises(TrainingError, match="is not a checkpoint of these scripts"):
        run(place, tmp_path, resume=True)


def test_resuming_takes_the_same_pictures_only(place: str, tmp_path: Path) -> None:
    run(place, tmp_path / "run", stop_after=1)
    copied = tmp_path / "elsewhere"
    shutil.copytree(place, copied)
    run(str(copied), tmp_path / "run", resume=True, stop_after=1)
    picture(1, 77).save(copied / "train" / "cat" / "2.jpg", quality=50)  # the count is the same
    with pytest.raises(TrainingError, match="saw other pictures: their names, sizes or classes"):
        run(str(copied), tmp_path / "run", resume=True)


def test_initial_weights_are_part_of_the_training(place: str, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        run(place, tmp_path / name, stop_after=1, seed=seed)
    first, second = (str(tmp_path / name / CHECKPOINT) for name in ("first", "second"))
    out = tmp_path / "tuned"
    run(place, out, init=first, stop_after=1)
    for other in (second, None):
        with pytest.raises(TrainingError, match="did not begin from what is given now"):
            run(place, out, init=other, resume=True)
    run(place, out, init=first, resume=True)
    assert number(out) == 5
    with pytest.raises(TrainingError, match="none.pt cannot be read"):
        run(place, tmp_path / "other", init=str(tmp_path / "none.pt"))


def test_checkpoints_of_earlier_versions_go_on(place: str, tmp_path: Path) -> None:
    run(place, tmp_path, stop_after=1)
    content = read_checkpoint(tmp_path / CHECKPOINT)
    del content["plan"]["pictures"], content["plan"]["label_smoothing"]
    torch.save(content, tmp_path / CHECKPOINT)
    run(place, tmp_path, resume=True)
    assert number(tmp_path) == 5


def test_the_log_has_every_step_once_after_kills(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step, more in ((1, {}), (4, {"checkpoint_every": 2, "evaluate_every": 3})):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            kill_after(step, patch)
            run(place, tmp_path, **more)
    assert [line["number"] for line in log(tmp_path) if "loss" in line] == [1, 2, 3, 4]
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"number": 4, "lo')  # what a kill leaves of a line
    run(place, tmp_path, resume=True, checkpoint_every=2, evaluate_every=3)
    for _ in range(2):
        lines = log(tmp_path)
        assert [line["number"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5]
        assert [line["number"] for line in lines if "validation" in line] == [3, 5]
        run(place, tmp_path, resume=True)  # nothing is left to do


def test_a_checkpoint_is_written_after_minutes_too(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path, evaluate_every=5, checkpoint_minutes=1e-9)
    assert number(tmp_path) == 3


def test_a_log_that_cannot_be_written_is_a_sentence(place: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(TrainingError, match="log.jsonl cannot be written: Is a directory"):
        run(place, tmp_path)


def test_a_failed_save_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, {"steps": 3}, {"model": {}})
    kept = (tmp_path / CHECKPOINT).read_bytes()

    def full(content: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="No space left"):
        save_checkpoint(tmp_path, {"steps": 3}, {"model": {}})
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]
    assert (tmp_path / CHECKPOINT).read_bytes() == kept
