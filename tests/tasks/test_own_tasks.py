"""A task of one's own is known by all that it uses; a shipped one has the hash it always had."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks import Data, Split, Task, load_task
from optforge.tasks.content import content_of
from optforge.tasks.own import own_content

NEAR = "FACTOR = 1.0\n\ndef scaled(x):\n    return FACTOR * x\n"
MINE = '''
import functools
import threading
import torch
from torch import nn
from optforge.tasks import Data, Split, Task
import near_mine

LOCK = threading.Lock()
CACHE = {}
SCALE = 1.0
WEIGHTS = [1.0, 2.0]
CRITERION = nn.HuberLoss(delta=0.5)

def my_loss(task, output, targets):
    """Squared."""
    return SCALE * task.power(output - targets).mean()

def cached(function):
    return functools.lru_cache(function)

@cached
def width():
    return 4

def points():
    with LOCK:
        CACHE["seen"] = len(CACHE)
        return torch.linspace(-1, 1, 90)[:, None]

def build():
    return nn.Sequential(nn.Linear(1, width()), nn.Tanh(), nn.Linear(width(), 1))

def logged(function):
    def inner(*arguments):
        return function(*arguments)
    return inner

class Mine(Task):
    steps, batch_size = 4, 8
    weights = WEIGHTS

    def data(self):
        x = self.all_points()
        return Data(*(Split(x[i::3], 2 * x[i::3]) for i in range(3)))

    def all_points(self):
        return points()

    def model(self):
        return build()

    def power(self, x):
        return x ** 2

    @logged
    def loss(self, output, targets):
        return near_mine.scaled(my_loss(self, output, targets))

    def metric(self, output, targets):
        from later_mine import measure
        return measure(output, targets) + CRITERION(output, targets) * self.weights[0]
'''
LATER = "def measure(output, targets):\n    return -(output - targets).abs().mean()\n"


Hash = Callable[..., str]


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hash:
    """The hash of the task in these files, as a fresh process after an edit gives it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))

    def of(mine: str = MINE, near: str = NEAR, later: str = LATER) -> str:
        for name, text in (("mine", mine), ("near_mine", near), ("later_mine", later)):
            (tmp_path / f"{name}.py").write_text(text)
        kept = [name for name in sys.modules if name.startswith("optforge_task_")]
        for name in ("near_mine", "later_mine", *kept):
            sys.modules.pop(name, None)
        return load_task(f"{tmp_path / 'mine.py'}:Mine").hash

    return of


def edited(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 1.0", "SCALE = 3.0"),
        ("output - targets).mean()", "output - targets).abs().mean()"),
        ("nn.Tanh()", "nn.ReLU()"),
        ("WEIGHTS = [1.0", "WEIGHTS = [1.5"),
        ("delta=0.5", "delta=0.6"),
        ("inner(*arguments):\n        return ", "inner(*arguments):\n        return 2 * "),
        ("x ** 2", "x ** 4"),
        ("2 * x[i::3]", "3 * x[i::3]"),
        ("return 4", "return 2 + 2 + len(CACHE)"),
    ],
)
def test_every_edit_that_changes_what_is_computed_changes_the_hash(
    hashed: Hash, old: str, new: str
) -> None:
    assert hashed() != hashed(edited(MINE, old, new))


def test_edits_of_modules_beside_the_task_change_the_hash(hashed: Hash) -> None:
    first = hashed()
    assert first == hashed()
    assert hashed(near=edited(NEAR, "FACTOR = 1.0", "FACTOR = 2.0")) != first
    assert hashed(later=edited(LATER, "abs()", "square()")) != first


def test_what_does_not_matter_leaves_the_hash(hashed: Hash) -> None:
    """Words, what nobody uses, and how the data are made: they enter as they are."""
    first = hashed()
    assert hashed(edited(MINE, "Squared.", "The squared error.")) == first
    assert hashed(edited(MINE, "len(CACHE)\n", "len(CACHE) + 1\n")) == first
    assert hashed(MINE + "\n\nUNUSED = 3  # by anybody\n") == first


def test_the_hash_is_the_same_in_another_process_and_after_training(
    hashed: Hash, tmp_path: Path
) -> None:
    first = hashed()
    task = load_task(f"{tmp_path / 'mine.py'}:Mine")
    train = task.splits.train
    task.metric(task.model()(train.inputs), train.targets)
    assert task.hash == first
    code = f"from optforge.tasks import load_task as f; print(f('{tmp_path}/mine.py:Mine').hash)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert told.stdout.strip() == first


class Held(Task):
    """A task whose loss is given to the instance."""

    steps, batch_size = 2, 4

    def __init__(self, criterion: Any = None, power: int = 2) -> None:
        self._criterion = criterion or (lambda o, t: (o - t).abs().pow(power).mean() / self.steps)

    def data(self) -> Data:
        """A line."""
        x = torch.linspace(-1, 1, 12)[:, None]
        return Data(*(Split(x[i::3], x[i::3]) for i in range(3)))

    def model(self) -> nn.Module:
        """A map."""
        return nn.Linear(1, 1)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """As given."""
        return self._criterion(output, targets)


def test_what_an_instance_was_given_counts() -> None:
    makers: list[Callable[[], Held]] = [
        Held, lambda: Held(power=3), lambda: Held(nn.HuberLoss(delta=0.5)),
        lambda: Held(nn.HuberLoss(delta=0.6)), lambda: Held(nn.MSELoss()),
    ]  # fmt: skip
    assert len({make().hash for make in makers}) == len(makers)
    assert [make().hash for make in makers] == [make().hash for make in makers]
    task = Held()
    _ = task.splits  # the closure holds the task, and the task holds its data now
    assert task.hash == Held().hash


def test_what_cannot_be_told_from_others_is_refused_by_name() -> None:
    lock = threading.Lock()
    with pytest.raises(TaskError, match="task 'Held' uses a lock that cannot be told"):
        _ = Held(lambda o, t: (o - t).mean() if lock else o).hash


@dataclass
class Config:
    """Plain settings in a class of one's own."""

    size: int = 3


class Kind(enum.Enum):
    """A choice."""

    SMALL = 1


def test_values_of_every_kind_are_told_apart_alike_in_every_process() -> None:
    one, other = [1], [1]
    different = [
        Config(3), Config(4), Kind.SMALL, torch.ones(2), torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, dtype=torch.complex64), torch.ones(()), np.ones(2), np.ones(2, np.float32),
        [one, other, one], [one, other, other], {"a": 1}, {"a": 2}, Path("a"), torch.float32,
    ]  # fmt: skip
    found = [content_of([value]) for value in different]
    assert len(set(found)) == len(different)
    assert content_of([Config(3)]) == content_of([Config(3)])


def test_a_shipped_task_has_nothing_added() -> None:
    for task in (load_task("digits_mlp"), load_task("letters_cnn")):
        assert own_content(task, task.model()) == []
