"""How a journal's file is opened: by its one writer, or by a reader that changes nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optforge.runs import guard


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may write; whoever opens it holds the lock already."""
    return sqlite3.connect(path, timeout=10, isolation_level=None)


def prepare_writing(connection: sqlite3.Connection) -> None:
    """Choose how much is forced to the disk: fast, and safe against a killed process."""
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    # NORMAL: a killed process loses nothing; a power cut may cost the last batches, as wholes.
    connection.execute("PRAGMA synchronous = NORMAL")


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; it sees what a writer commits meanwhile.

    In a read-only directory SQLite cannot make the -shm file that readers share. Nobody can write
    there either, so the file is then read as one that does not change.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _first_look(sqlite3.connect(address, uri=True, timeout=10, isolation_level=None))
    except sqlite3.OperationalError:
        if guard.wal_path(path).exists() or os.access(path.parent, os.W_OK):
            raise
    return sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)


@contextmanager
def closing_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Close the connection if what follows fails, and only then."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _first_look(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Touch the file, which `connect` alone does not."""
    with closing_on_error(connection):
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection
