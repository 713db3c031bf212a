"""The table of finished cells: an append-only text file from which a comparison resumes.

Each line is one JSON object. Lines with a ``key`` are cells; lines with ``session`` say where and
with which versions the following cells were computed. A line is written as a whole and flushed to
the disk. A line that a killed process left half-written is cut off by the next writer; a last line
that lacks only its line break is kept. Two tables can be joined by joining their lines.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import KeysView, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from optforge.comparison.cells.cell import Cell, CellResult
from optforge.errors import WRONG_VALUES, CompareError
from optforge.files import remove_leftovers
from optforge.runs.guard import explain_os

CELLS = "cells.jsonl"


class CellTable:
    """Results by key, in memory and in a file.

    Args:
        path: The file; None to keep everything in memory.
        write: Whether new results are appended; then no other process may write.

    Raises:
        CompareError: If the file cannot be read or written, another process writes to it, or a
            line that is not the last is damaged.

    Example:
        >>> table = CellTable(None)
        >>> table.add("a", Cell("t", "adamw", (), 0), CellResult(loss=0.5))
        >>> table["a"].loss, "b" in table
        (0.5, False)
    """

    def __init__(self, path: Path | None, write: bool = True) -> None:
        self.path = path
        self._results: dict[str, CellResult] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self.sessions: list[dict[str, Any]] = []
        self._session: Mapping[str, Any] | None = None
        self._file: TextIO | None = None
        self._lock: FileLock | None = None
        if path is None:
            return
        try:
            self._open(path, write)
        except OSError as error:
            self.close()
            raise CompareError(f"{path} cannot be used: {explain_os(path, error)}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CellTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def __getitem__(self, key: str) -> CellResult:
        return self._results[key]

    def keys(self) -> KeysView[str]:
        """Return the keys of the finished cells."""
        return self._results.keys()

    def __len__(self) -> int:
        return len(self._results)

    def count(self, task: str, recipe: str) -> int:
        """Return the number of cells of an optimizer on a task that the file held when opened."""
        return self._counts[task, recipe]

    def describe(self, session: Mapping[str, Any]) -> None:
        """Set the session, which is written before the next cell."""
        same = bool(self.sessions) and self.sessions[-1] == dict(session)
        self._session = None if same else session

    def add(self, key: str, cell: Cell, outcome: CellResult, purpose: str = "") -> None:
        """Store a result in memory and in the file; an existing one is not changed."""
        if key in self._results:
            return
        self._results[key] = outcome
        if self._file is None:
            return
        if self._session is not None:
            self._write({"session": dict(self._session)})
            self.sessions.append(dict(self._session))
            self._session = None
        row = {
            "key": key,
            "task": cell.task,
            "recipe": cell.recipe,
            "purpose": purpose,
            "setting": dict(cell.setting),
            "seed": cell.seed,
            **outcome.to_json(),
        }
        self._write(row)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._file is not None:
            with suppress(OSError):  # a full disk was told of when the row was written
                self._file.close()
            self._file = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _open(self, path: Path, write: bool) -> None:
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = acquire_lock(path)
            remove_leftovers(path.parent)
        content = path.read_bytes() if path.exists() else b""
        whole = _whole(content)
        self._read(path, content[:whole])
        if write:
            with path.open("ab") as file:
                file.truncate(whole)
                file.write(b"" if content[:whole].endswith(b"\n") or not whole else b"\n")
            self._file = path.open("a", encoding="utf-8")

    def _read(self, path: Path, content: bytes) -> None:
        for number, line in enumerate(content.splitlines(), 1):
            try:
                self._take(json.loads(line))
            except WRONG_VALUES as error:
                raise CompareError(
                    f"line {number} of {path} is not a row of a comparison ({error}); "
                    "mend or delete that line, its run is then repeated"
                ) from error

    def _take(self, row: Any) -> None:
        if not isinstance(row, dict):
            raise TypeError(f"it is {json.dumps(row)[:40]}, not an object")
        if "session" in row:
            self.sessions.append(dict(row["session"]))
        elif not isinstance(row["key"], str):
            raise TypeError(f"its key is {str(row['key'])[:40]}, not a text")
        elif not row.get("failed"):  # what has no result is computed again
            result = CellResult.from_json(row)
            if row["key"] not in self._results:  # lines of joined tables may come twice
                self._results[row["key"]] = result
                self._counts[str(row.get("task")), str(row.get("recipe"))] += 1

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            where = self.path or Path(CELLS)
            raise CompareError(f"a cell was not written: {explain_os(where, error)}") from error


def acquire_lock(path: Path) -> FileLock:
    """Lock a table for this process; ``release`` ends that.

    Raises:
        CompareError: If another process writes to it.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        raise CompareError(
            f"another process is writing to {path}; wait for it, or choose another --out"
        ) from None
    return lock


def _whole(content: bytes) -> int:
    """Return the length of all complete lines.

    A last line without a line break counts if it is a JSON object.

    A line that was cut off never is one, because its closing brace comes last.
    """
    ended = content.rfind(b"\n") + 1
    try:
        return len(content) if isinstance(json.loads(content[ended:]), dict) else ended
    except (RecursionError, ValueError):
        return ended
