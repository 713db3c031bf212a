"""The folder of a training: what resuming refuses, the log, checkpoints, and kills."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from optforge.errors import TrainingError
from optforge.images import Changes, Machine, Watch, open_data, train_images
from optforge.images import checkpoint as checkpoints
from optforge.images.trainer import Step
from tests.helpers.pictures import folders, picture

TINY = Changes(steps=5, batch_size=4, image_size=32, reduced=True, lr=1e-3)
MACHINE = Machine(device="cpu", evaluate_every=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folders(tmp_path_factory.mktemp("pictures") / "data", train=3, held=2))


def train(place: str, out: Path, *, resume: bool = False, **more: Any) -> Any:
    changes = {key: more.pop(key) for key in list(more) if hasattr(TINY, key)}
    machine = {key: more.pop(key) for key in list(more) if hasattr(MACHINE, key)}
    return train_images(
        "vit_s16",
        place,
        out,
        "lion",
        dataclasses.replace(TINY, **changes),
        dataclasses.replace(MACHINE, **machine),
        resume=resume,
        **more,
    )


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class Killed(Watch):
    """Stands for kill -9 while a step is done."""

    def __init__(self, step: int) -> None:
        self.number = step

    def step(self, step: Step) -> None:
        if step.number == self.number:
            raise KeyboardInterrupt


def test_other_trainings_and_damage_are_refused(place: str, tmp_path: Path) -> None:
    train(place, tmp_path, stop_after=1)
    with pytest.raises(TrainingError, match="holds a training already"):
        train(place, tmp_path)
    with pytest.raises(TrainingError, match="has steps = 5, asked for is 2"):
        train(place, tmp_path, resume=True, steps=2)
    (tmp_path / checkpoints.CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="cannot be read"):
        train(place, tmp_path, resume=True)


def test_resuming_takes_the_same_pictures_only(place: str, tmp_path: Path) -> None:
    train(place, tmp_path / "run", stop_after=1)
    copied = tmp_path / "elsewhere"
    shutil.copytree(place, copied)
    train(str(copied), tmp_path / "run", resume=True, stop_after=1)
    picture(1, 77).save(copied / "train" / "cat" / "2.jpg", quality=50)  # the count is the same
    with pytest.raises(TrainingError, match="saw other pictures: their names, sizes or classes"):
        train(str(copied), tmp_path / "run", resume=True)


def test_renamed_pictures_are_others(place: str, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "a")
    before = open_data(str(tmp_path / "a")).digest
    os.rename(tmp_path / "a" / "val" / "dog" / "1.jpg", tmp_path / "a" / "val" / "dog" / "one.jpg")
    assert before == open_data(place).digest != open_data(str(tmp_path / "a")).digest


def test_initial_weights_are_part_of_the_training(place: str, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        train(place, tmp_path / name, stop_after=1, seed=seed)
    first, second = (str(tmp_path / name / checkpoints.CHECKPOINT) for name in ("first", "second"))
    out = tmp_path / "tuned"
    train(place, out, initial=first, stop_after=1)
    for other in (second, None):
        with pytest.raises(TrainingError, match="did not begin from what is given now"):
            train(place, out, initial=other, resume=True)
    assert train(place, out, initial=first, resume=True).steps == 5
    with pytest.raises(TrainingError, match="none.pt cannot be read: No such file"):
        train(place, tmp_path / "other", initial=str(tmp_path / "none.pt"))


def test_checkpoints_of_earlier_versions_go_on(place: str, tmp_path: Path) -> None:
    import torch

    train(place, tmp_path, stop_after=1)
    content = checkpoints.read(tmp_path / checkpoints.CHECKPOINT)
    del content["plan"]["data"], content["plan"]["initial"]
    torch.save(content, tmp_path / checkpoints.CHECKPOINT)
    assert train(place, tmp_path, resume=True).steps == 5


def test_the_log_has_every_step_once_after_kills(place: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(place, tmp_path, watch=Killed(1))  # before the first checkpoint
    with pytest.raises(KeyboardInterrupt):
        train(place, tmp_path, watch=Killed(4), checkpoint_every=2, evaluate_every=3)
    assert [line["number"] for line in log(tmp_path) if "loss" in line] == [1, 2, 3, 4]
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"number": 4, "lo')  # what a kill leaves of a line
    train(place, tmp_path, resume=True, checkpoint_every=2, evaluate_every=3)
    for _ in range(2):
        lines = log(tmp_path)
        assert [line["number"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5]
        assert [line["number"] for line in lines if "validation" in line] == [3, 5]
        train(place, tmp_path, resume=True)  # nothing is left to do


def test_a_checkpoint_is_written_after_minutes_too(place: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(place, tmp_path, watch=Killed(4), evaluate_every=5, checkpoint_minutes=1e-9)
    assert checkpoints.read(tmp_path / checkpoints.CHECKPOINT)["step"] == 3


def test_a_log_that_cannot_be_written_is_a_sentence(place: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(TrainingError, match="log.jsonl cannot be written: Is a directory"):
        train(place, tmp_path)
