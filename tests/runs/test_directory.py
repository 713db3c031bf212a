from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest

from optforge.errors import RunError
from optforge.files import RECORD
from optforge.runs import RunDirectory, list_runs, new_run_path
from tests.runs.samples import batch


def test_create_write_and_open_again(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "deep" / "first", {"seed": 3}) as run:
        run.journal.commit(0, *batch(0))
        run.write_text("best.py", "old")
        run.write_text("best.py", "new ü\n")
        run.write_bytes("history.png", b"\x89PNG")
    with RunDirectory.open(tmp_path / "deep" / "first", write=True) as run:
        assert run.journal.batches == 1
        run.journal.commit(1, *batch(1))
    names = {file.name for file in run.path.iterdir()}
    assert {"journal.sqlite", "settings.json", "best.py", "history.png"} <= names
    assert not [name for name in names if name.endswith(".part")]
    assert (run.path / "best.py").read_text(encoding="utf-8") == "new ü\n"
    assert json.loads((run.path / "settings.json").read_text()) == {"seed": 3}


def test_a_default_name_of_date_and_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with RunDirectory.create(None, {}) as run:
        assert re.fullmatch(r"runs/20\d\d-\d\d-\d\d-\d{4}-[a-z]{4}", run.path.as_posix())
    assert [summary.path for summary in list_runs()] == [run.path]
    assert len({new_run_path() for _ in range(50)}) > 40


def test_create_never_overwrites(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run", {}).close()
    with pytest.raises(RunError, match="holds a run already; .*--resume"):
        RunDirectory.create(tmp_path / "run", {})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "best.py").write_text("precious")
    with pytest.raises(RunError, match="best.py that the run would overwrite"):
        RunDirectory.create(tmp_path / "mine", {})
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["best.py"]


def test_a_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file, and a run needs a directory"):
        RunDirectory.create(tmp_path / "file", {})
    with pytest.raises(RunError, match="cannot be written; choose a directory"):
        RunDirectory.create(tmp_path / "file" / "run", {})

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(RunError, match="cannot be written; choose a directory"):
        RunDirectory.create(tmp_path / "run", {})


@pytest.mark.parametrize("write", [True, False])
def test_open_of_what_is_not_a_run(tmp_path: Path, write: bool) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    cases = {
        "file": "it is a file",
        "missing": "does not exist",
        "empty": "holds no journal.sqlite",
    }
    for name, reason in cases.items():
        with pytest.raises(RunError, match=f"{name} is not a run: .*{reason}.*optforge runs"):
            RunDirectory.open(tmp_path / name, write=write)
    assert not list((tmp_path / "empty").iterdir())


def test_a_file_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunDirectory.create(tmp_path / "run", {}) as run:
        run.write_text("best.py", "old")

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="best.py was not written: the disk of .* is full"):
            run.write_text("best.py", "new")
        assert (run.path / "best.py").read_text() == "old"
        assert [file.name for file in run.path.glob(".*")] == [RECORD]
        with pytest.raises(RunError, match="plain file name"):
            run.write_text("../best.py", "new")


def test_list_runs_tells_running_finished_stopped_and_damaged(tmp_path: Path) -> None:
    (tmp_path / "no run").mkdir()
    for name in ("finished", "stopped", "damaged"):
        with RunDirectory.create(tmp_path / name, {}) as run:
            run.journal.commit(0, *batch(0))
            if name == "finished":
                run.write_text("table.json", "{}")
    (tmp_path / "damaged" / "journal.sqlite").write_bytes(b"rubbish" * 1000)
    with RunDirectory.create(tmp_path / "running", {}):
        runs = {summary.path.name: summary for summary in list_runs(tmp_path)}
    assert {name: summary.status for name, summary in runs.items()} == {
        "finished": "finished",
        "stopped": "stopped",
        "running": "running",
        "damaged": "unreadable",
    }
    assert (runs["stopped"].batches, runs["stopped"].programs) == (1, 5)
    assert runs["stopped"].best == pytest.approx(-0.1)
    assert runs["running"].best is None
    assert "no SQLite file" in runs["damaged"].problem
