"""All programs that a search has judged, by fingerprint: in memory up to a bound, then on disk."""

from __future__ import annotations

import sqlite3
import struct
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optforge.errors import RunError
from optforge.evolution.candidate import Standing
from optforge.fitness import Rank

MEMORY = 10**9  # bytes by default
LEAST_MEMORY = "1MB"
_TABLE = """CREATE TABLE known (
    fingerprint TEXT PRIMARY KEY, id INTEGER, rank BLOB, numeric TEXT, trace BLOB) WITHOUT ROWID"""
_INDEX = "CREATE INDEX by_numeric ON known (numeric)"
_INSERT = "REPLACE INTO known VALUES (?, ?, ?, ?, ?)"
_CONTAINS = "SELECT 1 FROM known WHERE fingerprint = ?"
_SEEDS = "substr({0}, instr({0} || '@', '@'))"  # what a fingerprint says of its set of seeds
_TWIN = (
    "SELECT 1 FROM known WHERE numeric = ?1 AND fingerprint <> ?2 AND "
    f"{_SEEDS.format('fingerprint')} = {_SEEDS.format('?2')} LIMIT 1"
)
_SETTINGS = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE")


class KnownPrograms:
    """Standings and traces of all judged programs.

    They are rows of a private SQLite database. SQLite keeps as many pages in memory as the bound
    allows and the rest in a temporary file, which the system removes when the process ends. Values
    are read back to the last bit, so the bound does not change the history of a search.

    Args:
        memory: Bound of the pages in memory, in bytes.

    Raises:
        RunError: If the temporary file cannot be written; so do all methods.

    Example:
        >>> known = KnownPrograms()
        >>> known.add("a1", Standing(0, (0.0, 0.0, -0.1, 8.0, 9.0), "n1"), trace=(2.3, 0.3))
        >>> known["a1"].rank[2], known.get("b2"), "a1" in known, known.trace("a1")
        (-0.1, None, True, (2.3, 0.3))
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        with _one_sentence():
            # Without a name: a temporary file that is removed as soon as it is open.
            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._database.close)
            for setting in (f"cache_size = -{memory // 1024}", *_SETTINGS):
                self._database.execute(f"PRAGMA {setting}").fetchall()
            self._database.execute(_TABLE)
            self._database.execute(_INDEX)
            # Never committed: each commit would walk all pages that were not written yet.
            self._database.execute("BEGIN")

    def __len__(self) -> int:
        return self._row("SELECT count(*) FROM known")[0]

    def __contains__(self, fingerprint: str) -> bool:
        try:  # as `_row`, in half the time: every proposal is looked up
            row = self._database.execute(_CONTAINS, (fingerprint,)).fetchone()
        except sqlite3.Error as error:
            raise _lost(error) from error
        return row is not None

    def __getitem__(self, fingerprint: str) -> Standing:
        standing = self.get(fingerprint)
        if standing is None:
            raise KeyError(fingerprint)
        return standing

    def get(self, fingerprint: str) -> Standing | None:
        """Return the standing of a program, or None if it was not judged."""
        row = self._row("SELECT id, rank, numeric FROM known WHERE fingerprint = ?", fingerprint)
        return None if row is None else Standing(row[0], _rank(row[1]), row[2])

    def trace(self, fingerprint: str) -> tuple[float, ...] | None:
        """Return the trace of a program, or None if it was not judged in full."""
        row = self._row("SELECT trace FROM known WHERE fingerprint = ?", fingerprint)
        return None if row is None or row[0] is None else _numbers(row[0])

    def with_numbers(self, numeric: str) -> list[tuple[str, Standing]]:
        """Return the programs with a numeric fingerprint, in the order of their verdicts."""
        query = "SELECT fingerprint, id, rank FROM known WHERE numeric = ? ORDER BY id"
        with _one_sentence():
            rows = self._database.execute(query, (numeric,)).fetchall()
        return [(row[0], Standing(row[1], _rank(row[2]), numeric)) for row in rows]

    def has_numbers(self, numeric: str, fingerprint: str) -> bool:
        """Return whether another program, judged on the same seeds, computed the same numbers."""
        return self._row(_TWIN, numeric, fingerprint) is not None

    def add(self, fingerprint: str, standing: Standing, trace: Sequence[float] | None) -> None:
        """Add a judged program, or replace its row; only full verdicts have a trace."""
        stored = None if trace is None else _packed(trace)
        row = (fingerprint, standing.id, _packed(standing.rank), standing.numeric, stored)
        self._row(_INSERT, *row)

    def rerank(self, fingerprint: str, rank: Rank) -> None:
        """Replace the rank of a known program."""
        self._row("UPDATE known SET rank = ? WHERE fingerprint = ?", _packed(rank), fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KnownPrograms) and self._rows() == other._rows()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._memory, self._rows())

    def _rows(self) -> list[tuple[Any, ...]]:
        with _one_sentence():
            return self._database.execute("SELECT * FROM known ORDER BY fingerprint").fetchall()

    def _row(self, query: str, *values: Any) -> Any:
        with _one_sentence():
            return self._database.execute(query, values).fetchone()


def _restored(memory: int, rows: Sequence[tuple[Any, ...]]) -> KnownPrograms:
    """Return programs that were pickled, as with the result of a search."""
    known = KnownPrograms(memory)
    for row in rows:
        known._row(_INSERT, *row)
    return known


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _lost(error) from error


def _lost(error: sqlite3.Error) -> RunError:
    return RunError(
        f"the temporary file of known programs cannot be used ({error}); free some space "
        "there, name another folder by the variable SQLITE_TMPDIR, or raise max_memory, and "
        "resume"
    )


def _packed(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"{len(numbers)}d", *numbers)


def _numbers(packed: bytes) -> tuple[float, ...]:
    return struct.unpack(f"{len(packed) // 8}d", packed)


def _rank(packed: bytes) -> Rank:
    first, second, third, fourth, fifth = _numbers(packed)
    return first, second, third, fourth, fifth
