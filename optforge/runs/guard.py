"""Protection of a journal: the lock of the one writer, checks, error messages."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from optforge.errors import OptforgeError, RunError, one_line, reading
from optforge.runs.schema import APPLICATION_ID, SCHEMA_VERSION

_LOCK_WAIT = 0.5  # seconds; longer than the blink of an eye for which `is_locked` looks


def lock_path(journal: Path) -> Path:
    """Return the file whose lock shows that a process writes to this journal."""
    return journal.with_name(journal.name + ".lock")


def wal_path(journal: Path) -> Path:
    """Return the file in which SQLite keeps data not yet moved into the journal."""
    return journal.with_name(journal.name + "-wal")


def acquire_lock(journal: Path) -> sqlite3.Connection | None:
    """Lock the journal for this process, until the connection is closed or the process dies.

    The lock is that of a second, empty database. So SQLite's own portable file locks are used, and
    readers of the journal itself are not blocked.

    Returns:
        The connection that holds the lock, or None if another process has it.
    """
    connection = sqlite3.connect(lock_path(journal), timeout=_LOCK_WAIT, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        if _name(error).startswith("SQLITE_BUSY"):
            return None
        raise
    return connection


def is_locked(journal: Path) -> bool:
    """Return whether a process holds the lock of this journal now."""
    path = lock_path(journal)
    if not path.exists():
        return False
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)
    except sqlite3.Error:
        return False
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return _name(error).startswith("SQLITE_BUSY")
    finally:
        connection.close()
    return False


@contextmanager
def sentences(journal: Path, doing: str) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into one sentence that says what to do.

    Args:
        journal: The file named in the sentence.
        doing: What failed, for instance `"batch 7 was not written"`.

    Raises:
        RunError: In place of `sqlite3.Error` and `OSError`.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise RunError(f"{doing}: {_explain(journal, _name(error), error)}") from error
    except OSError as error:
        raise RunError(f"{doing}: {explain_os(journal, error)}") from error
    except UnicodeDecodeError as error:  # a message of SQLite may hold damaged text
        raise RunError(f"{doing}: {damaged(journal, one_line(error))}") from error


_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
# EIO: a disk that fails, a terminal that is gone. The last three are of disks in a network.
_OTHER = (errno.ENAMETOOLONG, errno.EIO, errno.EISDIR, errno.ELOOP, errno.EMFILE, errno.ENFILE,
          errno.EFBIG, errno.EBUSY, errno.ESTALE, errno.ENOLCK)  # fmt: skip


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn errors of a full, read-only or failing disk, and of a name too long, into one sentence.

    Raises:
        RunError: In place of such an `OSError`; others, as of a task's own files, pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*_FULL, *_CLOSED, *_OTHER):
            raise
        if not isinstance(error.filename, str):  # of a write, which knows no name
            advice = "free some space" if error.errno in _FULL else "choose another place"
            what = f"a file or the output cannot be written: {error.strerror or error}"
            raise RunError(f"{what}; {advice}, then run this again") from error
        where = Path(error.filename)
        raise RunError(f"a file cannot be used: {explain_os(where, error)}") from error


def check_makeable(path: Path) -> None:
    """Refuse a directory that cannot be made or written to, before any time is spent.

    Raises:
        RunError: Says what is in the way.
    """
    place = next(part for part in (path, *path.parents) if os.path.lexists(part))
    if place == path and path.is_file():
        raise RunError(f"{path} is a file, and a run needs a directory; name another one")
    if not place.is_dir():
        raise RunError(
            f"{path} cannot be made, because {place} is no directory; name another one with --out"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError(
            f"{place} cannot be written to; choose a directory that you may write to with --out"
        )


def working_directory() -> str:
    """Return the working directory.

    Raises:
        OptforgeError: If it no longer exists; libraries would end the process without a word.
    """
    try:
        return os.getcwd()
    except OSError as error:
        raise OptforgeError(
            "the current directory was deleted or cannot be read; change to another one, and run "
            "this again"
        ) from error


def explain_os(path: Path, error: OSError) -> str:
    """Return what an error of the file system means for a run, and what to do."""
    if error.errno in _FULL:
        return f"the disk of {path} is full; free some space and resume, no finished batch is lost"
    if error.errno in _CLOSED:
        return f"{path} cannot be written; choose a directory that you may write to with --out"
    return f"{error.strerror or error} ({path})"


def _explain(journal: Path, name: str, error: sqlite3.Error) -> str:
    if name == "SQLITE_FULL":
        return (
            f"the disk of {journal} is full; free some space and resume, no finished batch is lost"
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return f"{journal} cannot be opened or written; choose a directory that you may write to"
    if name.startswith("SQLITE_NOTADB"):
        return (
            f"{journal} is not a journal of optforge: it is no SQLite file, or its beginning is "
            "destroyed; 'optforge runs' lists the runs there are"
        )
    if name.startswith("SQLITE_CORRUPT"):
        return damaged(journal, str(error))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program holds {journal} open for writing; close it and try again"
    if name.startswith("SQLITE_IOERR"):
        return f"reading or writing {journal} failed ({error}); check its disk, then resume"
    if name.startswith("SQLITE_CONSTRAINT"):
        return f"a row of that number is in {journal} already, or a value is missing ({error})"
    return f"SQLite says of {journal}: {error}"


def damaged(journal: Path, how: str) -> str:
    """Return the error for a journal with damaged bytes."""
    return f"{journal} is damaged ({how}); {_rescue(journal)}"


def content(journal: Path) -> AbstractContextManager[None]:
    """Turn errors caused by values of a wrong type in a journal into that error."""
    return reading(journal, _rescue(journal))


def _rescue(journal: Path) -> str:
    return (
        "take it from a backup, rescue what is readable with "
        f"'sqlite3 {journal.name} .recover', or start a new run"
    )


def check_file(journal: Path) -> None:
    """Refuse a directory without a journal, before SQLite creates an empty one there.

    The file is never opened without SQLite, because closing it would release the locks that a
    writer in the same process has on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).

    Raises:
        RunError: If there is no such file.
    """
    if not journal.is_file():
        raise RunError(
            f"{journal.parent} is not a run: it holds no {journal.name}; "
            "'optforge runs' lists the runs there are"
        )


def check_identity(journal: Path, connection: sqlite3.Connection) -> None:
    """Refuse a database that is not a journal, or that a newer optforge wrote.

    Raises:
        RunError: In both cases.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == 0 and version == 0 and not _tables(connection):
        raise RunError(
            f"{journal} holds no run: it is empty, cut off or not finished when it was created; "
            "take it from a backup or start a new run"
        )
    if application != APPLICATION_ID:
        raise RunError(f"{journal} is a database of another program, not a journal of optforge")
    if version > SCHEMA_VERSION:
        raise RunError(
            f"{journal} was written by a newer optforge (journal version {version}, this one "
            f"reads up to {SCHEMA_VERSION}); update optforge to read or resume this run"
        )
    if version != SCHEMA_VERSION:
        raise RunError(f"{journal} has journal version {version}, which no optforge has written")


def check_length(journal: Path, connection: sqlite3.Connection) -> None:
    """Refuse a truncated file, unless its -wal file has the missing pages.

    SQLite detects a missing page, but reads the missing part of a truncated last page as zeros.

    Raises:
        RunError: If bytes are missing.
    """
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    length = journal.stat().st_size
    whole = length >= pages * size and length % size == 0
    if not whole and not _size(wal_path(journal)):
        raise RunError(damaged(journal, f"cut off: {length} bytes of {pages * size}"))


def check_pages(journal: Path, connection: sqlite3.Connection) -> None:
    """Check all pages, as a writer does before it adds to a journal.

    Raises:
        RunError: If the structure is broken.
    """
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise RunError(damaged(journal, " ".join(str(answer).split())))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tables(connection: sqlite3.Connection) -> int:
    return connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or ""
