"""Connections to a journal's file, for its one writer and for readers that change nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optforge.runs import guard


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that may write; the caller must already hold the lock."""
    return sqlite3.connect(path, timeout=10, isolation_level=None)


def prepare_writing(connection: sqlite3.Connection) -> None:
    """Choose how often data is flushed to the disk: fast, and safe against a killed process."""
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    # NORMAL: a killed process loses nothing; a power cut may cost the last batches, as wholes.
    connection.execute("PRAGMA synchronous = NORMAL")


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write; it sees what a writer commits meanwhile.

    In a read-only directory SQLite cannot create the -shm file that readers share. Since nobody can
    write there either, the file is then read as immutable.
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
    """Close the connection only if the block fails."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _first_look(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Access the file, which `connect` alone does not do."""
    with closing_on_error(connection):
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection
