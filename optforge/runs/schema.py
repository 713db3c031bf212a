"""The tables of a journal, and the conversion between records and rows.

NaN needs care, because SQLite stores it as NULL. It is written as the text `nan`, which a REAL
column keeps as text, which sorts after every number, and which `float` reads back. Infinities are
plain REALs.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from optforge.errors import RunError
from optforge.files import sync_directory
from optforge.runs.records import Event, Proposal, Verdict

APPLICATION_ID = 0x6F707466  # "optf", so that `file` and we ourselves can tell what this is
SCHEMA_VERSION = 1

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # The counters spare a walk over all proposals when runs are listed.
    """CREATE TABLE batches (
        number INTEGER PRIMARY KEY, proposals INTEGER NOT NULL, cached INTEGER NOT NULL,
        verdicts INTEGER NOT NULL)""",
    """CREATE TABLE proposals (
        number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, phase TEXT NOT NULL, parent INTEGER,
        mutation TEXT NOT NULL, program TEXT NOT NULL, fingerprint TEXT NOT NULL,
        verdict INTEGER, cached INTEGER NOT NULL)""",
    """CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, numeric_fingerprint TEXT NOT NULL,
        fitness REAL NOT NULL, stage INTEGER NOT NULL, stage_name TEXT NOT NULL,
        loss REAL NOT NULL, audit_fitness REAL, state_bytes REAL NOT NULL,
        live_statements INTEGER NOT NULL, scores TEXT NOT NULL, trace TEXT NOT NULL,
        steps INTEGER NOT NULL, seconds REAL NOT NULL)""",
    "CREATE INDEX verdicts_by_fitness ON verdicts (fitness)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, kind TEXT NOT NULL,
        detail TEXT NOT NULL)""",
)

INSERT_PROPOSAL = "INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_VERDICT = "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_EVENT = "INSERT INTO events (batch, kind, detail) VALUES (?, ?, ?)"
INSERT_BATCH = "INSERT INTO batches VALUES (?, ?, ?, ?)"


def create_file(path: Path, settings: str, writer: str) -> None:
    """Make a new journal as a whole, on the disk: it is there with its settings, or not at all.

    Args:
        path: The file, whose lock is held; it does not exist.
        settings: As in :func:`create_tables`.
        writer: As there.
    """
    temporary = path.with_name(f".{path.name}.part")
    for leftover in (temporary, Path(f"{temporary}-journal")):  # of a process that was killed
        leftover.unlink(missing_ok=True)
    with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        create_tables(connection, settings, writer)
    os.replace(temporary, path)
    sync_directory(path.parent)


def create_tables(connection: sqlite3.Connection, settings: str, writer: str) -> None:
    """Make the tables of a new journal, in one transaction.

    Args:
        connection: Connection to an empty database.
        settings: What the run is started with, as JSON.
        writer: The process that makes it, as JSON.
    """
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    connection.execute("BEGIN IMMEDIATE")
    for statement in TABLES:
        connection.execute(statement)
    entries = [("settings", settings), ("created", now), ("writer", writer)]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", entries)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _store(value: float) -> float | str:
    return "nan" if math.isnan(value) else float(value)


def proposal_row(proposal: Proposal) -> tuple[Any, ...]:
    """Return the row of a proposal, in the order of its table."""
    p = proposal
    return (
        p.number, p.batch, p.phase, p.parent, p.mutation,
        p.program, p.fingerprint, p.verdict, p.cached,
    )  # fmt: skip


def proposal_of(row: tuple[Any, ...]) -> Proposal:
    """Return the proposal of a row."""
    return Proposal(*row[:8], cached=bool(row[8]))


def verdict_row(verdict: Verdict) -> tuple[Any, ...]:
    """Return the row of a verdict, in the order of its table."""
    v = verdict
    audit = None if v.audit_fitness is None else _store(v.audit_fitness)
    # JSON as Python writes it: NaN and Infinity are words of JSON5, and digits survive exactly.
    scores = json.dumps({task: [*map(float, values)] for task, values in v.scores.items()})
    return (
        v.id, v.fingerprint, v.numeric_fingerprint, _store(v.fitness), v.stage, v.stage_name,
        _store(v.loss), audit, _store(v.state_bytes), v.live_statements,
        scores, json.dumps([*map(float, v.trace)]), v.steps, _store(v.seconds),
    )  # fmt: skip


def verdict_of(row: tuple[Any, ...]) -> Verdict:
    """Return the verdict of a row."""
    return Verdict(
        id=row[0],
        fingerprint=row[1],
        numeric_fingerprint=row[2],
        fitness=float(row[3]),
        stage=row[4],
        stage_name=row[5],
        loss=float(row[6]),
        audit_fitness=None if row[7] is None else float(row[7]),
        state_bytes=float(row[8]),
        live_statements=row[9],
        scores={task: tuple(values) for task, values in json.loads(row[10]).items()},
        trace=tuple(json.loads(row[11])),
        steps=row[12],
        seconds=float(row[13]),
    )


def event_row(event: Event) -> tuple[Any, ...]:
    """Return the row of an event, without its id."""
    return event.batch, event.kind, json.dumps(dict(event.detail))


def event_of(row: tuple[Any, ...]) -> Event:
    """Return the event of a row that starts with its id."""
    return Event(row[1], row[2], json.loads(row[3]))


def plain_text(settings: Mapping[str, Any], indent: int | None = None) -> str:
    """Return the settings of a run as JSON.

    Raises:
        RunError: If they are not plain values.
    """
    try:
        return json.dumps(dict(settings), indent=indent)
    except (TypeError, ValueError) as error:
        raise RunError(f"the settings of a run must be plain values: {error}") from error
