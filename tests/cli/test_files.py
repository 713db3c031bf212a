"""Tasks from files: loaded, refused in one sentence, and carried to worker processes."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest
import torch

from optforge.api.own_tasks import loaded
from optforge.errors import TaskError
from optforge.execution import Completed, WorkerPool
from optforge.fitness import Evaluator, Judge, plan_stages
from optforge.language import load_rule
from optforge.tasks import check_task, load_task

LINE = """
import torch
from torch import nn
from optforge import Data, Split, Task
import beside

class Line(Task):
    steps, batch_size = 6, 8
    def data(self):
        x = torch.linspace(-1, 1, 60)[:, None]
        return Data(*(Split(x[i::3], beside.SLOPE * x[i::3]) for i in range(3)))
    def model(self):
        return nn.Sequential(nn.Linear(1, 4), Bent(), nn.Linear(4, 1))
    def loss(self, output, targets):
        return ((output - targets) ** 2).mean()

class Bent(nn.Module):
    def forward(self, x):
        return x.clamp(min=0)

class Steep(Line):
    steps = 7

class Needs(Line):
    def __init__(self, size):
        self.size = size

class Half(Task):
    def model(self):
        return nn.Linear(1, 1)

class Wrong(Line):
    def loss(self, output, targets):
        return (output @ targets).mean()

class Rows(Line):
    def loss(self, output, targets):
        return ((output - targets) ** 2).mean(1)

class Empty(Line):
    def data(self):
        raise KeyError("no such column")

number = 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside.py").write_text("SLOPE = 2\n")
    (tmp_path / "line.py").write_text(LINE)
    return tmp_path / "line.py"


def test_a_class_in_a_file_is_a_task(file: Path) -> None:
    task = load_task(f"{file}:Line")
    check_task(task)
    assert (task.name, task.steps) == ("Line", 6)
    assert load_task(f"{file}:Line").hash == task.hash
    assert type(load_task(f"{file}:Line")) is type(task)  # the file runs once
    assert load_task(f"{file}:Steep").hash != task.hash


def test_checking_leaves_the_global_generator_alone(file: Path) -> None:
    before = torch.get_rng_state()
    check_task(load_task(f"{file}:Line"))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_changed_file_is_another_task(file: Path) -> None:
    before = load_task(f"{file}:Line").hash
    file.write_text(LINE.replace("** 2", "** 4"))
    assert load_task(f"{file}:Line").hash != before


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere.py:Line", "cannot be read: No such file"),
        ("line.py:Circle", "Circle in line.py does not exist; it has line.py:Line, line.py:Steep"),
        ("line.py:number", "not a class derived from optforge.Task"),
        ("line.py:Bent", "not a class derived from optforge.Task"),
        ("line.py", "name the class in line.py, as in file.py:Class; it has line.py:Line"),
        ("line.py:", "name the class in line.py"),
        ("line.py:Needs", "cannot be made: TypeError"),
        ("line.py:Half", "cannot be made: TypeError"),
        ("broken.py:Line", "cannot be run: SyntaxError"),
        ("leaves.py:Line", "cannot be run: SystemExit"),
        ("notes.txt:Line", "not a Python file"),
        (".:Line", "cannot be read: Is a directory"),
        (":", "cannot be read"),
    ],
)
def test_bad_places_are_refused(
    file: Path, place: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    Path("broken.py").write_text("class Line(:\n")
    Path("leaves.py").write_text("import sys\nsys.exit()\n")
    Path("notes.txt").write_text("Line\n")
    with pytest.raises(TaskError) as raised:
        load_task(place)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Wrong", "loss() on the train split, outputs [8, 1] and targets [8, 1], failed"),
        ("Rows", "tensor of shape [8]"),
        ("Empty", "'Empty': data() failed: KeyError: 'no such column'"),
    ],
)
def test_mistakes_are_found_before_the_search(file: Path, name: str, said: str) -> None:
    with pytest.raises(TaskError) as raised:
        check_task(load_task(f"{file}:{name}"))
    assert said in str(raised.value)


def test_a_task_from_a_file_travels_to_workers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a second verb of a process: what the first did to ``sys.path`` is undone."""
    load_task(f"{file}:Line")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p) != file.parent])
    task = load_task(f"{file}:Line")
    stages = plan_stages([task], 2)
    factory = functools.partial(
        Evaluator, [task], stages, {task.name: (1, 2)}, {task.name: (0.0, 0.0)}
    )
    programs = tuple(load_rule(name) for name in ("adamw", "lion", "signum"))
    with WorkerPool(factory, 1, timeout=120) as pool:
        pool.submit(0, Judge(programs, (), (False,) * 3))
        done = pool.next()
    assert isinstance(done, Completed), done
    alone = factory().judge(Judge(programs, (), (False,) * 3))
    assert [one.fitness for one in done.result] == [one.fitness for one in alone]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("built.so", b"\x7fELF and no more", "cannot be run: ImportError"),
        ("old.pyc", b"no magic number", "cannot be run: ImportError"),
        ("wide.py", "class Line: pass".encode("utf-16"), "cannot be run: SyntaxError"),
        ("notes.md", b"Line", "is not a Python file"),
        ("a\0b.py", None, "cannot be read: embedded null"),
    ],
)
def test_files_that_are_no_source_are_refused(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=said):
        load_task(f"{tmp_path / name}:Line")


def test_what_is_imported_late_and_cannot_be_read_is_left_out(file: Path) -> None:
    """The digest of a task reads what it imports, without running that."""
    (file.parent / "damaged.py").write_bytes(b"x = 1\0")
    file.write_text(
        file.read_text().replace("import torch", "import torch\nif 0: import damaged", 1)
    )
    assert len(load_task(f"{file}:Line").hash) == 16


def test_a_path_is_a_place_as_well(file: Path) -> None:
    assert [task.name for task in loaded(Path(f"{file}:Line"))] == ["Line"]
    assert [task.name for task in loaded([Path(f"{file}:Line")])] == ["Line"]
