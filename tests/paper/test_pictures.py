"""Pictures: folders and Parquet files give the same, chance depends on place alone."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from paper.augmentation import evaluation_transform, training_transform
from paper.examples import Examples, MicroBatches
from paper.options import TrainingError
from paper.pictures import open_pictures, write_digits
from tests.helpers.pictures import CLASSES, folders, parquet, picture


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("pictures")
    return folders(base / "folders"), parquet(base / "parquet")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_folders_and_parquet_hold_the_same(places: tuple[Path, Path]) -> None:
    first, second = (open_pictures(str(place)) for place in places)
    assert first.classes == second.classes == CLASSES
    assert len(first.train) == len(second.train) == 18
    assert len(first.validation) == len(second.validation) == 9
    for data in (first, second):
        labels = [data.train[i][1] for i in range(18)]
        assert sorted(labels) == [0] * 6 + [1] * 6 + [2] * 6
    transform = evaluation_transform(32)
    for data in (first, second):
        for number in range(9):
            shown, label = data.validation[number]
            x = transform(shown)
            assert x.shape == (3, 32, 32) and x.dtype == torch.float32
            assert x.min() >= -1 and x.max() <= 1
    exact = transform(picture(2, 101))
    stored = transform(second.validation[7][0])
    torch.testing.assert_close(stored, exact)


def test_evaluation_sees_the_middle_at_the_right_scale() -> None:
    from PIL import Image

    values = numpy.zeros((64, 96, 3), numpy.uint8)
    values[24:40, 40:56] = 255  # a white square in the middle
    x = evaluation_transform(56)(Image.fromarray(values))
    assert x[0, 28, 28] == 1 and x[0, 2, 2] == -1
    assert torch.equal(x[0], x[2])
    assert x[0].add(1).div(2).mean().item() == pytest.approx((16 / 56) ** 2, abs=0.01)


@pytest.mark.parametrize("randaugment", [None, (2, 15)])
def test_augmentation_depends_on_epoch_and_index_alone(
    places: tuple[Path, Path], randaugment: tuple[int, int] | None
) -> None:
    pictures = open_pictures(str(places[0])).train
    examples = Examples(pictures, training_transform(32, randaugment), seed=3)
    first = examples[(0, 5)][0]
    before = torch.get_rng_state()
    _ = examples[(1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, examples[(0, 5)][0])
    assert not torch.equal(first, examples[(1, 5)][0])
    other = Examples(pictures, training_transform(32, randaugment), seed=4)
    assert not torch.equal(first, other[(0, 5)][0])
    assert first.shape == (3, 32, 32) and first.min() >= -1 and first.max() <= 1


def test_an_epoch_shows_every_picture_once() -> None:
    seen = [item for piece in MicroBatches(10, 2, 2, (0, 5), (0, 1), seed=1) for item in piece]
    assert sorted(seen[:10]) == [(0, i) for i in range(10)]
    assert sorted(seen[10:]) == [(1, i) for i in range(10)]
    assert [i for _, i in seen[:10]] != [i for _, i in seen[10:]]


def test_later_steps_are_the_same_after_a_resumption_and_for_more_processes() -> None:
    whole = list(MicroBatches(10, 3, 4, (0, 6), (0, 1), seed=1))
    assert list(MicroBatches(10, 3, 4, (4, 6), (0, 1), seed=1)) == whole[16:]
    for world in (2, 4):
        parts = [
            list(MicroBatches(10, 3, 4, (0, 6), (rank, world), seed=1)) for rank in range(world)
        ]
        assert [parts[n % world][n // world] for n in range(24)] == whole
        assert len(MicroBatches(10, 3, 4, (0, 6), (0, world), seed=1)) == len(parts[0])


def test_places_without_pictures_are_refused(tmp_path: Path, places: tuple[Path, Path]) -> None:
    with pytest.raises(TrainingError, match="not a folder"):
        open_pictures(str(tmp_path / "none"))
    with pytest.raises(TrainingError, match="needs a folder train/ and one of validation"):
        open_pictures(str(tmp_path))
    for part, name in (("train", "cat"), ("val", "cow")):
        (tmp_path / part / name).mkdir(parents=True)
        picture(0, 0).save(tmp_path / part / name / "0.jpg")
    with pytest.raises(TrainingError, match="different classes: cat, cow"):
        open_pictures(str(tmp_path))
    with pytest.raises(TrainingError, match="cannot be loaded"):
        open_pictures("hub:nobody/nothing")


def test_renamed_pictures_are_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_digits(tmp_path / name)
    before = open_pictures(str(tmp_path / "a")).digest
    (tmp_path / "b" / "val" / "3" / "7.png").rename(tmp_path / "b" / "val" / "3" / "seven.png")
    assert before == open_pictures(str(tmp_path / "a")).digest
    assert before != open_pictures(str(tmp_path / "b")).digest
