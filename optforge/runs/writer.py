"""The one process that writes to a journal: its lock, and its name in the journal."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from optforge.errors import RunError
from optforge.runs import guard
from optforge.runs.connect import closing_on_error, connect_reader


def writer_text() -> str:
    """Return what names this process, as JSON."""
    return json.dumps({"process": os.getpid(), "host": platform.node()})


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield the lock of a journal; it is released if the block fails, and kept otherwise.

    Raises:
        RunError: If another process has it.
    """
    lock = guard.acquire_lock(path)
    if lock is None:
        raise RunError(
            f"{path.parent} is in use: {_describe_writer(path)} writes to it; "
            "wait until it ends, stop it, or name another run"
        )
    with closing_on_error(lock):
        yield lock


def _describe_writer(path: Path) -> str:
    query = "SELECT value FROM meta WHERE key = 'writer'"
    try:
        with closing(connect_reader(path)) as connection:
            writer = json.loads(connection.execute(query).fetchone()[0])
    except (sqlite3.Error, OSError, TypeError, ValueError):  # it cannot be read
        return "another process"
    return f"process {writer['process']} on {writer['host']}"
