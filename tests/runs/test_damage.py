"""What may happen to a journal: kills, full disks, second writers, damage. Nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optforge.errors import RunError
from optforge.runs import Journal
from optforge.runs.guard import is_locked
from tests.runs.samples import batch

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from optforge.runs import Journal
from tests.runs.samples import batch
journal = Journal.create(sys.argv[1], {"seed": 1})
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    journal.commit(number, *batch(number))
sys.stdin.read()
"""


@contextmanager
def writer(path: Path, batches: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that writes batches and keeps the journal open."""
    command = [sys.executable, "-c", WRITER, str(path), str(batches)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, close_fds=True
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def run(path: Path) -> Path:
    """A closed journal of 20 batches."""
    with Journal.create(path, {}) as journal:
        for number in range(20):
            journal.commit(number, *batch(number))
    return path


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.03])
def test_a_killed_writer_leaves_complete_batches(path: Path, delay: float) -> None:
    with writer(path, 10**9) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Journal.open(path, write=True) as journal:
        count = journal.batches
        kept = list(journal.proposals())
        for number in range(count):
            assert kept[5 * number : 5 * number + 5] == batch(number)[0]
        assert journal.counts()["proposals"] == 5 * count == sum(1 for _ in journal.verdicts())
        assert sum(1 for _ in journal.events()) == count
        journal.commit(count, *batch(count))  # and the run goes on


def test_a_second_writer_is_refused_by_name_and_reading_goes_on(path: Path) -> None:
    with writer(path, 3) as process:
        assert is_locked(path)
        with pytest.raises(RunError, match=f"in use: process {process.pid} on "):
            Journal.open(path, write=True)
        with pytest.raises(RunError, match="in use"):
            Journal.create(path, {})
        with Journal.open(path, write=False) as reader:
            assert reader.settings == {"seed": 1}
    assert not is_locked(path)
    with Journal.open(path, write=True) as journal:
        assert 0 <= journal.batches <= 3


def test_a_second_writer_in_the_same_process_is_refused(run: Path) -> None:
    with Journal.open(run, write=True) as journal:
        for _ in range(3):  # looking at a journal must not drop the lock of its writer
            with pytest.raises(RunError, match=f"process {os.getpid()}"):
                Journal.open(run, write=True)
        journal.commit(20, *batch(20))
    Journal.open(run, write=True).close()


def test_create_refuses_an_existing_file(run: Path) -> None:
    before = run.read_bytes()
    with pytest.raises(RunError, match="exists already"):
        Journal.create(run, {})
    assert run.read_bytes() == before


def test_a_full_disk_loses_no_finished_batch(run: Path) -> None:
    with Journal.open(run, write=True) as journal:
        connection = journal._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone()
        with pytest.raises(RunError, match="batch 20 was not written: the disk of .* is full"):
            journal.commit(20, *batch(20, size=100))
        assert journal.batches == 20
        assert journal.counts()["proposals"] == 100 == sum(1 for _ in journal.proposals())
        connection.execute("PRAGMA max_page_count = 1000000").fetchone()
        journal.commit(20, *batch(20))  # space was made: the very same journal goes on


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="the run was not created: .* cannot be "):
        Journal.create(tmp_path / "file" / "journal.sqlite", {})
    with pytest.raises(RunError, match="the run was not created: .* cannot be "):
        Journal.create(tmp_path / "missing" / "journal.sqlite", {})


def test_a_journal_that_became_read_only(run: Path) -> None:
    with Journal.open(run, write=True) as journal:
        journal._connection.execute("PRAGMA query_only = 1")  # root may write anything else
        with pytest.raises(RunError, match="batch 20 was not written: .* cannot be opened or writ"):
            journal.commit(20, *batch(20))
        assert journal.batches == 20


def test_reading_in_a_read_only_directory(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SQLite behaves there: mode=ro fails for want of -shm, immutable=1 works."""
    connect = sqlite3.connect

    def failing(address: str, *args: object, **kwargs: object) -> sqlite3.Connection:
        if "immutable" not in str(address):
            address = f"{run.parent.as_uri()}/missing.sqlite?mode=ro"
        return connect(address, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite3, "connect", failing)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Journal.open(run, write=False) as journal:
        assert journal.batches == 20


def test_a_journal_from_a_newer_version(run: Path) -> None:
    _execute(run, "PRAGMA user_version = 99")
    for write in (True, False):
        with pytest.raises(RunError, match="newer optforge .*journal version 99.*update optforge"):
            Journal.open(run, write=write)


def test_a_database_of_another_program_is_refused_and_untouched(path: Path) -> None:
    _execute(path, "CREATE TABLE notes (text)")
    before = path.read_bytes()
    for write in (True, False):
        with pytest.raises(RunError, match="of another program"):
            Journal.open(path, write=write)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database" * 999, b"x", b"SQLite format 3\0", b""])
def test_what_is_no_journal_at_all(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for write in (True, False):
        with pytest.raises(RunError, match="no SQLite file|holds no run"):
            Journal.open(path, write=write)
    assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("write", [True, False])
def test_a_truncated_journal_is_noticed(run: Path, share: float, write: bool) -> None:
    content = run.read_bytes()
    cut = content[: int(share * len(content))]
    run.write_bytes(cut)
    with pytest.raises(RunError, match="damaged|holds no run|no SQLite file"):
        Journal.open(run, write=write)
    assert run.read_bytes() == cut


def test_overwritten_pages_are_noticed_by_a_writer(run: Path) -> None:
    content = bytearray(run.read_bytes())
    content[5 * 4096 : 9 * 4096] = os.urandom(4 * 4096)
    run.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        Journal.open(run, write=True)
    with pytest.raises(RunError, match="damaged"), Journal.open(run, write=False) as journal:
        _ = list(journal.proposals()), list(journal.verdicts()), list(journal.events())


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_cut_wal_file_costs_whole_batches_only(path: Path, tmp_path: Path, share: float) -> None:
    """As after a power cut: what is left is a run that can go on."""
    copy = tmp_path / "copy.sqlite"
    with Journal.create(path, {}) as journal:
        for number in range(20):
            journal.commit(number, *batch(number))
        wal = path.with_name(path.name + "-wal").read_bytes()
        shutil.copy(path, copy)
    copy.with_name(copy.name + "-wal").write_bytes(wal[: int(share * len(wal))])
    try:
        with Journal.open(copy, write=True) as journal:
            count = journal.batches
            assert 0 <= count < 20
            assert journal.counts()["proposals"] == sum(1 for _ in journal.proposals()) == 5 * count
            journal.commit(count, *batch(count))
    except RunError as error:
        assert share < 0.1 and "holds no run" in str(error)  # cut before the tables existed


@pytest.mark.parametrize("write", [True, False])
def test_what_is_not_there_is_not_a_run(tmp_path: Path, write: bool) -> None:
    with pytest.raises(RunError, match="is not a run: it holds no journal.sqlite"):
        Journal.open(tmp_path / "journal.sqlite", write=write)
    assert not list(tmp_path.iterdir())


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute(statement)
        connection.commit()
    finally:
        connection.close()
