"""Code of one's own is known by its files, a value by its content, and else by a cache key."""

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
from optforge.tasks.content import content_key

MINE = '''
import torch
from torch import nn
from optforge.tasks import Data, Split, Task
import near_mine
from near_package import inside

class Mine(Task):
    steps, batch_size = 4, 8

    def data(self):
        x = torch.linspace(-1, 1, 90)[:, None]
        return Data(*(Split(x[i::3], 2 * x[i::3]) for i in range(3)))

    def model(self):
        return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

    def loss(self, output, targets):
        """Squared."""
        return near_mine.scaled((output - targets) ** 2).mean()

    def metric(self, output, targets):
        from later_mine import measure
        return measure(output, targets)
'''
FILES = {
    "mine.py": MINE,
    "near_mine.py": "FACTOR = 1.0\n\ndef scaled(x):\n    return FACTOR * x\n",
    "later_mine.py": "def measure(output, targets):\n    return -(output - targets).abs().mean()\n",
    "near_package/__init__.py": "",
    "near_package/inside.py": "from . import beside\n",
    "near_package/beside.py": "SIZE = 3\n",
    "unused.py": "X = 1\n",
}
Hash = Callable[..., str]


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hash:
    """The hash of the task in these files, as a fresh process after an edit has it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))

    def task_hash(**edits: str) -> str:
        for name, text in FILES.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(edits.get(path.stem, text))
        for name in list(sys.modules):
            if name.startswith(("optforge_task_", "near_", "later_")):
                del sys.modules[name]
        return load_task(f"{tmp_path / 'mine.py'}:Mine").hash

    return task_hash


def edited(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"), [("** 2", "** 4"), ("Tanh", "ReLU"), ('"""Squared."""', '"""The error."""')]
)
def test_every_edit_of_the_file_changes_the_hash(hashed: Hash, old: str, new: str) -> None:
    first = hashed()
    assert first == hashed()
    assert hashed(mine=edited(MINE, old, new)) != first


@pytest.mark.parametrize("name", ["near_mine", "later_mine", "inside", "beside"])
def test_every_edit_of_an_imported_file_of_ones_own_changes_the_hash(
    hashed: Hash, name: str
) -> None:
    first = hashed()
    assert hashed(**{name: "# edited\n" + FILES.get(f"{name}.py", "FACTOR = 2.0\n")}) != first
    assert hashed(unused="X = 2\n") == first


def test_a_late_import_is_read_and_not_run(hashed: Hash) -> None:
    hashed()
    assert "near_mine" in sys.modules and "later_mine" not in sys.modules


def test_the_hash_is_the_same_in_another_process_and_after_training(
    hashed: Hash, tmp_path: Path
) -> None:
    first = hashed()
    task = load_task(f"{tmp_path / 'mine.py'}:Mine")
    train = task.splits.train
    task.metric(task.model()(train.inputs), train.targets)
    assert task.hash == first
    code = f"from optforge.tasks import load_task as f; print(f('{tmp_path}/mine.py:Mine').hash)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert done.stdout.strip() == first


def test_a_cache_key_stands_for_the_files(hashed: Hash) -> None:
    keyed = edited(MINE, "batch_size = 4, 8", 'batch_size = 4, 8\n    cache_key = "one"')
    first = hashed(mine=keyed)
    assert hashed(mine=edited(keyed, "** 2", "** 4")) == first
    assert hashed(mine=edited(keyed, '"one"', '"two"')) != first
    assert hashed(mine=edited(keyed, "steps, batch_size = 4", "steps, batch_size = 5")) != first


SESSION = edited(MINE, "import near_mine\nfrom near_package import inside\n", "")


def typed(text: str = SESSION) -> Task:
    """A task as a notebook has it: there is no file that its source could be read from."""
    space: dict[str, Any] = {"__name__": "a_session"}
    exec(compile(text, "<session>", "exec"), space)
    return space["Mine"]()


def test_a_task_without_a_file_needs_a_cache_key() -> None:
    with pytest.raises(TaskError, match="Mine, which was imported from no file; set cache"):
        _ = typed().hash
    keyed = [typed(), typed(), typed()]
    for task, key in zip(keyed, ("one", "one", "two"), strict=True):
        task.cache_key = key
    assert keyed[0].hash == keyed[1].hash != keyed[2].hash


class Keyed(Task):
    """Its subclasses are other tasks."""

    steps, batch_size, cache_key = 2, 4, "mine"

    def data(self) -> Data:
        """A line."""
        x = torch.linspace(-1, 1, 12)[:, None]
        return Data(*(Split(x[i::3], x[i::3]) for i in range(3)))

    def model(self) -> nn.Module:
        """A map."""
        return nn.Linear(1, 1)


def test_a_cache_key_is_not_inherited() -> None:
    def text(task: Task) -> str:
        return str(task.settings()["source"])

    assert "cache_key mine" in text(Keyed())
    assert "cache_key" not in text(type("Child", (Keyed,), {"__module__": __name__})())


class Held(Keyed):
    """A task whose loss is given to the instance."""

    def __init__(self, criterion: Any = None, power: int = 2) -> None:
        self._criterion = criterion or (lambda o, t: (o - t).abs().pow(power).mean())

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


def test_lists_arrays_and_groups_of_settings_count_too() -> None:
    """Two tasks that differ in the weights of their classes alone shared one baseline."""
    given: list[dict[str, Any]] = [
        {"weights": [1, 2]}, {"weights": [1, 3]}, {"weights": torch.ones(2)},
        {"weights": np.ones(2)}, {"weights": {"a": 1}}, {"config": Config(3)},
        {"config": Config(4)}, {},
    ]  # fmt: skip

    def hash_of(values: dict[str, Any]) -> str:
        task = Held()
        vars(task).update(values)
        return task.hash

    assert len({hash_of(values) for values in given}) == len(given)
    assert hash_of({"_cache": [1]}) == hash_of({})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TaskError, match="holds itself; set cache_key"):
        hash_of({"weights": endless})


def test_what_has_no_readable_content_is_refused_by_name() -> None:
    lock = threading.Lock()
    with pytest.raises(TaskError, match="task 'Held'.* a lock, whose content.* set cache_key"):
        _ = Held(lambda o, t: (o - t).mean() if lock else o).hash


@dataclass
class Config:
    """Plain settings in a class of one's own."""

    size: int = 3


class Kind(enum.Enum):
    """A choice."""

    SMALL = 1
    LARGE = 2


def test_values_of_every_kind_are_told_apart() -> None:
    different = [
        Config(3), Config(4), Kind.SMALL, Kind.LARGE, torch.ones(2), torch.zeros(2),
        torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.complex64), torch.ones(()),
        np.ones(2), np.ones(2, np.float32), {"a": 1}, {"a": 2}, Path("a"), torch.float32, (1, 2),
        [1, 2], {1, 2}, nn.Linear(1, 1), nn.Identity(), Config, lambda: 1, lambda: 2,
    ]  # fmt: skip
    keys = [content_key(value) for value in different]
    assert len(set(keys)) == len(different)
    assert content_key([Config(3), {"a", "b"}]) == content_key([Config(3), {"b", "a"}])
