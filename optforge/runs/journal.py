"""The journal of a run: every proposal, verdict and event, in one SQLite file.

A batch is one transaction, so a process killed at any moment leaves only complete batches.
One process writes; any number may read meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from optforge.errors import RunError
from optforge.files import remove_leftovers
from optforge.runs import guard, schema, writer
from optforge.runs.connect import closing_on_error, connect, connect_reader, prepare_writing
from optforge.runs.records import Event, Proposal, Verdict
from optforge.runs.session import Session

T = TypeVar("T")
_PAGE = 500  # rows read at once; between two pages no cursor is open and memory stays flat


class Journal:
    """An open journal; a context manager that closes itself.

    Made by `Journal.create` and `Journal.open`, never directly.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Journal.create(f"{folder}/journal.sqlite", {"seed": 3}) as journal:
        ...         journal.commit(0, [Proposal(0, 0, "start", None, "start", "", "f", None)])
        ...         journal.batches, journal.settings, journal.last(1)[0].fingerprint
        (1, {'seed': 3}, 'f')
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: sqlite3.Connection | None
    ) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._next = 0 if lock is None else self.batches

    @classmethod
    def create(cls, path: str | Path, settings: Mapping[str, Any]) -> Journal:
        """Create a new journal and open it for writing.

        Args:
            path: The file; it must not exist, its directory must.
            settings: Settings of the run, as JSON-serializable values.

        Raises:
            RunError: If the file exists, cannot be written, or is used by another process.
        """
        path = Path(path)
        text = schema.plain_text(settings)
        with guard.sentences(path, "the run was not created"), writer.locked(path) as lock:
            if path.exists():
                raise RunError(f"{path} exists already; resume that run or name another one")
            schema.create_file(path, text, writer.writer_text())
            connection = connect(path)
            with closing_on_error(connection):
                prepare_writing(connection)
                return cls(path, connection, lock)

    @classmethod
    def open(cls, path: str | Path, *, write: bool) -> Journal:
        """Open an existing journal.

        Args:
            path: The file.
            write: True to resume the run, which only one process may do at a time; False to read,
                even while another process writes.

        Raises:
            RunError: If the file is not a journal, is damaged, comes from a newer optforge, cannot
                be written, or is written by another process.
        """
        path = Path(path)
        with guard.sentences(path, "the run was not opened"):
            guard.check_file(path)
            return cls._open_writer(path) if write else cls._open_reader(path)

    @classmethod
    def _open_writer(cls, path: Path) -> Journal:
        with writer.locked(path) as lock:
            connection = connect(path)
            remove_leftovers(path.parent)
            with closing_on_error(connection):
                guard.check_identity(path, connection)
                prepare_writing(connection)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                guard.check_length(path, connection)
                guard.check_pages(path, connection)
                connection.execute(
                    "REPLACE INTO meta VALUES ('writer', ?)", (writer.writer_text(),)
                )
                return cls(path, connection, lock)

    @classmethod
    def _open_reader(cls, path: Path) -> Journal:
        connection = connect_reader(path)
        with closing_on_error(connection):
            guard.check_identity(path, connection)
            guard.check_length(path, connection)
            return cls(path, connection, None)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the lock; safe to call twice."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the run, as stored in JSON."""
        with guard.content(self.path):
            return dict(json.loads(self._meta("settings")))

    @property
    def created(self) -> str:
        """Time of creation: local time in ISO 8601, to the second."""
        return self._meta("created")

    @property
    def session(self) -> Session | None:
        """The latest session of the search; None before its clock started."""
        rows = self._all("SELECT value FROM meta WHERE key = 'session'")
        with guard.content(self.path):
            return Session(**json.loads(rows[0][0])) if rows else None

    def write_session(self, session: Session) -> None:
        """Write when a session began and what ends it, in place of what was written before."""
        with self._transaction("the session was not written") as connection:
            values = json.dumps(asdict(session))
            connection.execute("REPLACE INTO meta VALUES ('session', ?)", (values,))

    @property
    def batches(self) -> int:
        """Number of committed batches, which is also the number of the next one."""
        return self._all("SELECT count(*) FROM batches")[0][0]

    def commit(
        self,
        batch: int,
        proposals: Iterable[Proposal] = (),
        verdicts: Iterable[Verdict] = (),
        events: Iterable[Event] = (),
    ) -> None:
        """Write a whole batch in one transaction: all of it or nothing.

        Args:
            batch: Number of the batch; batches come in the order 0, 1, 2, ...
            proposals: Its programs, including cache hits.
            verdicts: Its new verdicts.
            events: Its events that are not recorded yet.

        Raises:
            RunError: If the batch is out of order, a row exists already, or the disk is full; the
                journal then stays unchanged.
        """
        rows = [schema.proposal_row(proposal) for proposal in proposals]
        judged = [schema.verdict_row(verdict) for verdict in verdicts]
        happened = [schema.event_row(event) for event in events]
        with self._transaction(f"batch {batch} was not written") as connection:
            self._check_order(batch, rows)
            connection.executemany(schema.INSERT_PROPOSAL, rows)
            connection.executemany(schema.INSERT_VERDICT, judged)
            connection.executemany(schema.INSERT_EVENT, happened)
            counters = (batch, len(rows), sum(row[8] for row in rows), len(judged))
            connection.execute(schema.INSERT_BATCH, counters)
        self._next = batch + 1

    def record(self, event: Event) -> None:
        """Write one event at once, before its batch is committed, so that it survives a kill.

        Raises:
            RunError: If it cannot be written.
        """
        with self._transaction(f"the event {event.kind!r} was not written") as connection:
            connection.execute(schema.INSERT_EVENT, schema.event_row(event))

    def content(self) -> AbstractContextManager[None]:
        """Turn errors caused by damaged rows of this journal into one sentence."""
        return guard.content(self.path)

    def proposals(self, start: int = 0) -> Iterator[Proposal]:
        """Yield all proposals from number `start` on, in order."""
        return self._records(schema.proposal_of, self._stream("proposals", "number", start))

    def verdicts(self, start: int = 0) -> Iterator[Verdict]:
        """Yield all verdicts from id `start` on, in order of their ids."""
        return self._records(schema.verdict_of, self._stream("verdicts", "id", start))

    def events(self, kind: str | None = None) -> Iterator[Event]:
        """Yield all events in the order in which they were written, or those of one kind."""
        events = self._records(schema.event_of, self._stream("events", "id", 0))
        return (event for event in events if kind is None or event.kind == kind)

    def columns(self, table: str, key: str, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield the key and some columns of `proposals` or `verdicts`, in order of the key."""
        return self._stream(table, key, 0, ", ".join((key, *names)))

    def last(self, count: int) -> list[Proposal]:
        """Return the last `count` proposals, oldest first: the aging population."""
        rows = self._all("SELECT * FROM proposals ORDER BY number DESC LIMIT ?", count)
        return list(self._records(schema.proposal_of, reversed(rows)))

    def verdict(self, number: int) -> Verdict | None:
        """Return the verdict with this id, or None."""
        rows = self._all("SELECT * FROM verdicts WHERE id = ?", number)
        return next(self._records(schema.verdict_of, rows), None)

    def best(self) -> Verdict | None:
        """Return the verdict with the lowest fitness, or None; NaN sorts last."""
        rows = self._all("SELECT * FROM verdicts ORDER BY fitness, id LIMIT ?", 1)
        return next(self._records(schema.verdict_of, rows), None)

    def counts(self) -> dict[str, int]:
        """Return the numbers of `batches`, `proposals`, `cached` and `verdicts`."""
        names = ("batches", "proposals", "cached", "verdicts")
        sums = "count(*), total(proposals), total(cached), total(verdicts)"
        return dict(zip(names, map(int, self._all(f"SELECT {sums} FROM batches")[0]), strict=True))

    def stages(self) -> dict[str, int]:
        """Return how many verdicts ended in each stage, by its name, in order of the stages."""
        query = "SELECT stage_name, count(*) FROM verdicts GROUP BY stage_name ORDER BY min(stage)"
        return dict(self._all(query))

    def _check_order(self, batch: int, rows: list[tuple[Any, ...]]) -> None:
        if batch != self._next:
            raise RunError(
                f"batch {batch} cannot be committed: {self.path} holds {self._next} batches, "
                f"so the next one is {self._next}"
            )
        misplaced = [row[0] for row in rows if row[1] != batch]
        if misplaced:
            raise RunError(f"proposal {misplaced[0]} does not belong to batch {batch}")

    @contextmanager
    def _transaction(self, failure: str) -> Iterator[sqlite3.Connection]:
        if self._lock is None:
            raise RunError(f"{failure}: {self.path} was opened for reading; open it for writing")
        with guard.sentences(self.path, failure):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        # On a full disk SQLite may have rolled back by itself; a Ctrl-C may come after COMMIT.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._next = self._connection.execute("SELECT count(*) FROM batches").fetchone()[0]

    def _records(
        self, record: Callable[[tuple[Any, ...]], T], rows: Iterable[tuple[Any, ...]]
    ) -> Iterator[T]:
        for row in rows:
            with guard.content(self.path):
                result = record(row)
            yield result

    def _meta(self, key: str) -> str:
        rows = self._all("SELECT value FROM meta WHERE key = ?", key)
        if not rows:
            raise RunError(guard.damaged(self.path, f"the entry {key!r} is missing"))
        return rows[0][0]

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with guard.sentences(self.path, "the run was not read"):
            return self._connection.execute(query, values).fetchall()

    def _stream(
        self, table: str, key: str, start: int, columns: str = "*"
    ) -> Iterator[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT {_PAGE}"
        while rows := self._all(query, start):
            yield from rows
            start = rows[-1][0] + 1
