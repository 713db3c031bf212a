"""Data: disjoint, deterministic, split as promised, standardised, built lazily."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from optforge.errors import TaskError
from optforge.tasks import Data, Split, load_task, task_names
from optforge.tasks.data import characters, letters, mnist, python_source


def _examples(split: Split) -> set[bytes]:
    return {example.numpy().tobytes() for example in split.inputs}


@pytest.mark.parametrize("name", task_names())
def test_no_example_is_shared(name: str) -> None:
    data = load_task(name).splits
    train, validation, test = (_examples(s) for s in (data.train, data.validation, data.test))
    assert not train & validation
    assert not train & test
    assert not validation & test


@pytest.mark.parametrize("name", task_names())
def test_dtypes_and_scale(name: str) -> None:
    inputs = load_task(name).splits.train.inputs
    assert load_task(name).splits.train.targets.dtype == torch.int64
    if inputs.is_floating_point():
        assert inputs.dtype == torch.float32
        assert inputs.mean().item() == pytest.approx(0, abs=0.01)
        assert inputs.std().item() == pytest.approx(1, abs=0.01)


def test_mnist_sizes_classes_and_indices() -> None:
    data = mnist.mnist()
    for split, size in ((data.train, 3000), (data.validation, 1000), (data.test, 1000)):
        assert split.targets.bincount().tolist() == [size // 10] * 10
    labels = np.repeat(np.arange(10), 500)
    parts = mnist.stratified(labels, (3000, 1000, 1000))
    assert sorted(np.concatenate(parts)) == list(range(5000))


def test_pooling_averages_squares() -> None:
    full, pooled = mnist.mnist().train.inputs[0], mnist.mnist(pool=2).train.inputs[0]
    average = full.reshape(14, 2, 14, 2).mean((1, 3))
    correlation = torch.corrcoef(torch.stack([average.flatten(), pooled.flatten()]))[0, 1]
    assert correlation.item() == pytest.approx(1, abs=1e-5)


def test_python_files() -> None:
    names = python_source.file_names()
    assert list(names) == sorted(names)
    assert len(names) > 200
    folders = {part for name in names for part in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "idlelib", "turtledemo", "site-packages"}
    assert {python_source.part_of(n) for n in names} == set(python_source.PARTS)
    assert python_source.provenance()["python"] == sys.version.split()[0]


def test_python_targets_are_one_character_later() -> None:
    data = load_task("python_transformer").splits
    for split, size in ((data.train, 4096), (data.validation, 256), (data.test, 256)):
        assert tuple(split.inputs.shape) == tuple(split.targets.shape) == (size, 16)
        assert torch.equal(split.inputs[:, 1:], split.targets[:, :-1])
        assert 0 <= int(split.inputs.min()) <= int(split.inputs.max()) <= 63


def test_python_asks_for_too_much() -> None:
    with pytest.raises(TaskError, match="ask for fewer"):
        characters.draw_windows(["abcdef"], size=9, length=2, taken=set())


def test_faces_are_disjoint() -> None:
    faces = [face for part in letters.FACES.values() for face in part]
    assert len(faces) == len(set(faces))
    assert not [face for face in faces if "LastResort" in face]


def test_letters_cover_all_classes_and_repeat() -> None:
    kept = letters.letters()
    assert [len(s) for s in (kept.train, kept.validation, kept.test)] == [3432, 1040, 1248]
    assert len(kept.validation.targets.unique()) == 26
    small = [letters._build(16, (1, 1, 1)) for _ in range(2)]
    assert all(np.array_equal(small[0][key], small[1][key]) for key in small[0])


def test_letters_missing_face() -> None:
    with pytest.raises(TaskError, match="NoSuchFace.*pip install"):
        letters.glyph("NoSuchFace", "A")


def test_mnist_is_the_same_at_every_call() -> None:
    first, second = mnist.mnist(), mnist.mnist()
    assert isinstance(first, Data)
    assert torch.equal(first.test.inputs, second.test.inputs)


def test_importing_tasks_is_light_and_naming_one_needs_neither_timm_nor_torchvision() -> None:
    code = (
        "import sys, optforge.tasks as tasks; "
        "print(sorted({'sklearn', 'mlxtend', 'matplotlib', 'PIL'} & set(sys.modules))); "
        "tasks.load_task('letters_vit_small'); "
        "print(sorted({'timm', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
