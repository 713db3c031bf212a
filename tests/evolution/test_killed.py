"""`kill -9` at any moment, and what kills workers: the history is the same in the end."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optforge.fitness import KILLER
from optforge.language import parse
from optforge.runs import Journal
from tests.helpers.killed import BUSY, deadly, go
from tests.helpers.searches import rows

PROGRAMS = 250
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Killer:
    """The process that forks searches and kills them."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.killed"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, path: Path, mortal: bool, statement: int, seconds: float | None) -> int:
        request: dict[str, Any] = {"path": str(path), "programs": PROGRAMS, "mortal": mortal}
        request |= {"statement": statement, "seconds": seconds}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    made = Killer()
    yield made
    made.close()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "mortal"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A search without interruption; with workers that die and hang, or without."""
    path = tmp_path_factory.mktemp("whole") / "journal"
    go(str(path), BUSY, PROGRAMS, request.param)
    return request.param, rows(path)


def check(killer: Killer, whole: Any, folder: Path, kills: int, seed: int) -> None:
    """Kill a search so often; by a statement of the database, or by the clock."""
    (mortal, expected), source = whole, random.Random(seed)
    path, killed = folder / "journal", 0
    for number in range(kills):
        if number % 2:
            code = killer(path, mortal, 0, source.uniform(0.0, 0.35))
        else:
            code = killer(path, mortal, source.randrange(1 if number else 40, 120), None)
        assert code in (0, -9)
        killed += code == -9
        if path.exists() and path.stat().st_size:
            check_prefix(path, expected)
    assert killed
    go(str(path), BUSY, PROGRAMS, mortal)
    assert rows(path) == expected


def check_prefix(path: Path, expected: dict[str, list[Any]]) -> None:
    try:
        part = rows(path)
    except Exception as error:  # killed before the journal was complete
        pytest.fail(f"a journal that nobody can read: {error}")
    for table in part:
        assert part[table] == expected[table][: len(part[table])]


def test_the_history_after_kills_is_that_of_a_quiet_run(
    killer: Killer, whole: Any, tmp_path: Path
) -> None:
    check(killer, whole, tmp_path, kills=8, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_many_kills(killer: Killer, whole: Any, tmp_path: Path, seed: int) -> None:
    check(killer, whole, tmp_path, kills=40, seed=seed)


def test_every_single_statement_of_some_batches(killer: Killer, tmp_path: Path, whole: Any) -> None:
    """Killed before every second statement in turn, a search still comes to its end."""
    mortal, expected = whole
    path = tmp_path / "journal"
    for statement in range(20, 60, 2):
        killer(path, mortal, statement, None)
    go(str(path), BUSY, PROGRAMS, mortal)
    assert rows(path) == expected


def test_culprits_are_found_and_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    go(str(path), BUSY, PROGRAMS, mortal=True)
    history = rows(path)
    of = {v.id: v for v in history["verdicts"]}
    new = [p for p in history["proposals"] if not p.cached]
    for proposal in new:
        assert (of[proposal.verdict].stage_name == KILLER) == deadly(parse(proposal.program))
    culprits = [p for p in new if deadly(parse(p.program))]
    assert len(culprits) >= 3
    with Journal.open(path, write=False) as journal:
        events = [e for e in journal.events() if e.batch < journal.batches]
    kinds = Counter(e.kind for e in events)
    assert kinds["killer"] == len(culprits)
    batches = {p.batch for p in culprits}
    failed = [e for e in events if e.kind in ("worker_death", "timeout")]
    whole_jobs = Counter(e.batch for e in failed if e.detail["program"] is None)
    assert whole_jobs == dict.fromkeys(batches, 2), "a batch is done again once, then one by one"
    strikes = Counter(
        (e.batch, e.detail["program"]) for e in failed if e.detail["program"] is not None
    )
    assert set(strikes.values()) == {2} and len(strikes) == len(culprits)
    assert kinds["timeout"] and kinds["worker_death"]


def test_culprits_rank_last(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    go(str(path), BUSY, 100, mortal=True)
    verdicts = rows(path)["verdicts"]
    stages = [v.stage for v in verdicts if v.stage_name == KILLER]
    assert stages and max(stages) < min(v.stage for v in verdicts if v.stage_name != KILLER)


def test_an_end_after_every_single_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened to an interrupted batch is not forgotten and not written down twice."""
    programs = 130
    go(str(tmp_path / "whole"), BUSY, programs, mortal=True)
    real, path, ends = Journal.record, tmp_path / "parts", 0

    def record(journal: Journal, event: Any) -> None:
        real(journal, event)
        raise KeyboardInterrupt

    while True:
        monkeypatch.setattr(Journal, "record", record)
        try:
            go(str(path), BUSY, programs, mortal=True)
            break
        except KeyboardInterrupt:
            ends += 1
        assert ends < 200
    expected = rows(tmp_path / "whole")
    assert ends >= 10 and rows(path) == expected
