from __future__ import annotations

import errno
import json
import os
import re
import time
from pathlib import Path

import pytest

import optforge
from optforge.errors import RunError
from optforge.files import RECORD, ForeignFileError
from optforge.runs import RunDirectory, check_free, list_runs, new_run_path
from optforge.runs.file_names import file_names
from tests.helpers.searches import pretend, rows, small
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
    with pytest.raises(RunError, match="already holds a run; .*--resume"):
        RunDirectory.create(tmp_path / "run", {})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "best.py").write_text("precious")
    with pytest.raises(RunError, match="best.py that the run would overwrite"):
        RunDirectory.create(tmp_path / "mine", {})
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["best.py"]


@pytest.mark.parametrize("name", file_names(["Line", "a/b"])[4:])
def test_no_file_of_the_users_is_replaced_without_force(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("precious")
    with pytest.raises(RunError, match="would overwrite; name another directory, or give --force"):
        RunDirectory.create(tmp_path, {}, ["Line", "a/b"])
    assert [found.name for found in tmp_path.iterdir()] == [name]
    assert file.read_text() == "precious"


def test_a_run_that_ended_before_it_had_a_journal_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("optforge.runs.schema.create_tables", killed)
        with pytest.raises(KeyboardInterrupt):
            RunDirectory.create(tmp_path, {"seed": 1}, start="first")
    assert not (tmp_path / "journal.sqlite").exists()
    with RunDirectory.create(tmp_path, {"seed": 2}, start="second") as run:
        assert run.journal.settings == {"seed": 2}
        assert (tmp_path / "start.py").read_text() == "second"
    assert not list(tmp_path.glob("*.part*"))


def test_files_of_a_run_whose_journal_is_gone_are_kept(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, {}) as run:
        run.write_text("best.py", "ours")
    (tmp_path / "journal.sqlite").unlink()
    with pytest.raises(RunError, match="best.py that the run would overwrite"):
        RunDirectory.create(tmp_path, {})
    (tmp_path / "best.py").unlink()
    (tmp_path / "settings.json").write_text("edited by hand")
    with pytest.raises(RunError, match="settings.json that the run would overwrite"):
        RunDirectory.create(tmp_path, {})


def test_with_force_files_of_others_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "best_Line.py").write_text("precious")
    with RunDirectory.create(tmp_path, {}, ["Line"], force=True) as run:
        run.write_text("best_Line.py", "ours")
        assert (tmp_path / "best_Line.py").read_text() == "ours"


def test_a_file_that_was_changed_in_a_run_is_kept(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run", {}) as run:
        run.write_text("best.py", "ours")
    (run.path / "best.py").write_text("edited by hand")
    (run.path / "explain.md").write_text("my notes")
    with RunDirectory.open(run.path, write=True) as run:
        with pytest.raises(ForeignFileError, match=r"best.py was not written by optforge"):
            run.write_text("best.py", "new")
        with pytest.raises(ForeignFileError, match=r"explain.md .*give --force"):
            run.claim(["explain.json", "explain.md"])
        run.claim(["explain.md"], force=True)
        run.write_text("explain.md", "new")
    assert (run.path / "best.py").read_text() == "edited by hand"
    assert (run.path / "explain.md").read_text() == "new"


def test_a_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file, and a run needs a directory"):
        RunDirectory.create(tmp_path / "file", {})
    with pytest.raises(RunError, match="run cannot be made, because .*file is no directory"):
        RunDirectory.create(tmp_path / "file" / "run", {})

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(RunError, match="cannot be written; choose a directory"):
        RunDirectory.create(tmp_path / "run", {})
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunError, match="cannot be written to; choose a directory"):
        check_free(tmp_path / "far" / "away")


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


def test_what_a_killed_process_had_begun_is_removed_when_a_run_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    RunDirectory.create(path, {}).close()
    (path / ".best.py.0a1b2c3d.part").write_text("def tra")
    (path / ".mine.part").write_text("of the user")
    RunDirectory.open(path).close()
    assert (path / ".best.py.0a1b2c3d.part").exists(), "a reader changes nothing"
    RunDirectory.open(path, write=True).close()
    assert sorted(p.name for p in path.glob(".*.part")) == [".mine.part"]


def test_no_clock_that_can_be_set_orders_anything() -> None:
    """Deadlines use a clock that only advances; times of day are shown, and name new runs."""
    source = Path(optforge.__file__).parent
    clocks = re.compile(r"time\.time\(|\.now\(|utcnow|localtime|st_mtime|getmtime")
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if clocks.search(path.read_text(encoding="utf-8"))
    }
    # The page of a run shows when its files were last written, and from when its session began what
    # is left; nothing is ordered by it.
    shown = {"report/pages/run_data.py", "api/search.py"}
    assert found == {"runs/schema.py", "runs/directory.py", *shown}


def test_a_clock_set_back_changes_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path / "first", small(), 200)
    pretend(tmp_path / "second", small(), 100)
    monkeypatch.setattr(time, "time", iter(range(10**9, 0, -3600)).__next__)
    pretend(tmp_path / "second", small(), 200)
    assert rows(tmp_path / "first") == rows(tmp_path / "second")
