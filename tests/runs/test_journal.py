from __future__ import annotations

import gc
import itertools
import sqlite3
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.errors import RunError
from optforge.runs import Event, Journal, Session, Verdict
from optforge.runs.schema import verdict_of, verdict_row
from tests.runs.samples import INF, NAN, batch, proposal, verdict


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_everything_survives_closing_and_opening(path: Path) -> None:
    proposals, verdicts, events = batch(0)
    verdicts = [replace(v, scores={"mlp": (0.1, -INF)}) for v in verdicts]
    with Journal.create(path, {"seed": 3, "tasks": ["mlp"]}) as journal:
        journal.commit(0, proposals, verdicts, events)
    with Journal.open(path, write=False) as journal:
        assert journal.settings == {"seed": 3, "tasks": ["mlp"]}
        assert list(journal.proposals()) == proposals
        assert list(journal.proposals(start=3)) == proposals[3:]
        assert list(journal.verdicts()) == verdicts
        assert list(journal.events()) == events
        assert journal.created.startswith("20")


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
REALS = FLOATS.map(lambda value: value + 0.0)  # a REAL column drops the sign of zero, no more


@given(
    REALS, REALS, st.none() | REALS, st.lists(FLOATS),
    st.dictionaries(st.text(max_size=5), st.lists(FLOATS).map(tuple), max_size=3),
)  # fmt: skip
def test_every_number_survives_sqlite(
    fitness: float,
    loss: float,
    audit: float | None,
    trace: list[float],
    scores: dict[str, tuple[float, ...]],
) -> None:
    before = verdict(
        1, fitness=fitness, loss=loss, audit_fitness=audit, trace=tuple(trace), scores=scores
    )
    assert repr(_through_sqlite(before)) == repr(before)


def _through_sqlite(value: Verdict) -> Verdict:
    columns = "a, b, c, d REAL, e, f, g REAL, h REAL, i REAL, j, k, l, m, n REAL"
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"CREATE TABLE t ({columns})")
        marks = ", ".join("?" * 14)
        connection.execute(f"INSERT INTO t VALUES ({marks})", verdict_row(value))
        return verdict_of(connection.execute("SELECT * FROM t").fetchone())
    finally:
        connection.close()


def test_nan_and_infinity_come_back_from_a_journal(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        judged = [
            verdict(0, fitness=NAN),
            verdict(1, fitness=INF, loss=NAN, audit_fitness=NAN),
            verdict(2, fitness=-0.25),
        ]
        journal.commit(0, [], judged)
        assert [repr(v) for v in journal.verdicts()] == [repr(v) for v in judged]
        best = journal.best()
        assert best is not None and best.id == 2  # NaN is never the best


def test_last_gives_the_newest_oldest_first(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        for number in range(3):
            journal.commit(number, *batch(number))
        assert [p.number for p in journal.last(4)] == [11, 12, 13, 14]
        assert [p.number for p in journal.last(100)] == list(range(15))
        assert journal.last(0) == []


def test_counts_and_stages(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        assert journal.counts() == {"batches": 0, "proposals": 0, "cached": 0, "verdicts": 0}
        assert journal.best() is None
        rejected = verdict(99, stage=1, stage_name="loss after 10 steps", fitness=INF)
        further = verdict(98, stage=3, stage_name="loss after 10 steps", fitness=INF)
        proposals, verdicts, _ = batch(0)
        journal.commit(0, proposals, [*verdicts, rejected, further])
        journal.commit(1)
        assert journal.batches == 2
        assert journal.counts() == {"batches": 2, "proposals": 5, "cached": 2, "verdicts": 7}
        stages = journal.stages()
        assert stages == {"loss after 10 steps": 2, "full": 5} and list(stages)[-1] == "full"
        found = journal.verdict(99)
        assert found is not None and found.stage == 1
        assert journal.verdict(100) is None


def test_the_latest_session_is_kept_and_only_the_writer_begins_one(path: Path) -> None:
    first, second = Session(1e9, 0, None, 500), Session(2e9, 300, 8.0, None)
    with Journal.create(path, {}) as journal:
        assert journal.session is None
        journal.write_session(first)
        journal.write_session(second)
    with Journal.open(path, write=False) as reader:
        assert reader.session == second
        with pytest.raises(RunError, match="opened for reading"):
            reader.write_session(first)


def test_columns_are_those_of_the_records(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        for number in range(3):
            journal.commit(number, *batch(number))
        rows = list(journal.columns("proposals", "number", "fingerprint", "batch"))
        assert rows == [(p.number, p.fingerprint, p.batch) for p in journal.proposals()]
        rows = list(journal.columns("verdicts", "id", "stage_name"))
        assert rows == [(v.id, v.stage_name) for v in journal.verdicts()]


@pytest.mark.parametrize("number", [0, 2, 5, -1])
def test_batches_come_in_order(path: Path, number: int) -> None:
    with Journal.create(path, {}) as journal:
        journal.commit(0, *batch(0))
        with pytest.raises(RunError, match="holds 1 batches, so the next one is 1"):
            journal.commit(number, *batch(1))
        journal.commit(1, *batch(1))
        assert journal.batches == 2


def test_a_batch_that_fails_leaves_nothing_behind(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        journal.commit(0, *batch(0))
        before = journal.counts()
        with pytest.raises(RunError, match="a row of that number"):
            journal.commit(1, [proposal(50, 1), proposal(4, 1)], [verdict(50)])
        with pytest.raises(RunError, match="does not belong to batch 1"):
            journal.commit(1, [proposal(50, 7)])
        assert journal.counts() == before
        assert journal.verdict(50) is None
        journal.commit(1, *batch(1))


def test_recorded_events_need_no_commit(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        journal.record(Event(0, "worker_death", {"job": 4}))
        journal.commit(0, *batch(0))
    with Journal.open(path, write=False) as journal:
        assert [event.kind for event in journal.events()] == ["worker_death", "phase"]
        assert list(journal.events("worker_death")) == [Event(0, "worker_death", {"job": 4})]


def test_reading_while_writing(path: Path) -> None:
    with Journal.create(path, {}) as writer, Journal.open(path, write=False) as reader:
        for number in range(5):
            writer.commit(number, *batch(number))
            assert reader.batches == number + 1
            assert len(list(reader.verdicts())) == 5 * (number + 1)


def test_rows_may_be_added_in_the_middle_of_reading(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        journal.commit(0, *batch(0, size=1500))
        rows = journal.proposals()
        first = list(itertools.islice(rows, 10))
        journal.commit(1, [proposal(1500, 1)])
        assert len(first) + len(list(rows)) == 1501


@pytest.mark.slow
def test_verdicts_stream_with_flat_memory(path: Path) -> None:
    with Journal.create(path, {}) as journal:
        journal.commit(0, [], (verdict(number) for number in range(8_000)))
        # What threads of other tests allocate meanwhile counts too, but not every time.
        walked = min(_peak(lambda: sum(1 for _ in journal.verdicts())) for _ in range(3))
        held = _peak(lambda: len(list(journal.verdicts())))
        assert walked < held / 2  # garbage that is not collected yet counts as well


def _peak(read: Callable[[], int]) -> int:
    """The memory that it takes to read 8,000 verdicts."""
    gc.collect()
    tracemalloc.start()
    try:
        assert read() == 8_000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_reader_cannot_write(path: Path) -> None:
    Journal.create(path, {}).close()
    with Journal.open(path, write=False) as journal:
        with pytest.raises(RunError, match="opened for reading"):
            journal.commit(0)
        with pytest.raises(RunError, match="opened for reading"):
            journal.record(Event(0, "restart"))


def test_settings_must_be_plain(path: Path) -> None:
    with pytest.raises(RunError, match="plain values"):
        Journal.create(path, {"task": object()})
    assert not path.exists()


def test_closing_twice_is_harmless_and_a_closed_journal_says_so(path: Path) -> None:
    journal = Journal.create(path, {})
    journal.close()
    journal.close()
    with pytest.raises(RunError, match="closed"):
        _ = journal.batches
