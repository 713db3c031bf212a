"""The same history in this process, with one worker and with two; real deaths, real time-outs."""

from __future__ import annotations

import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from optforge.evolution import Budget, SearchPlan, make_executor, make_search
from optforge.execution import JOB_SECONDS, Completed, InlineExecutor
from optforge.fitness import KILLER, Judge
from optforge.jobs import JobRunner
from optforge.runs import Journal, RunDirectory
from tests.helpers.searches import rows, small, tiny_plan, train_search
from tests.helpers.tiny import Deadly, Hanging

PROGRAMS = 130
SETTINGS = small(constants_programs=40, restart_after=40, batch=8, audit=0.2)
# With this seed one of the first programs makes huge steps; hurdles are low enough to let it.
WILD = small(
    start="def train(w, g, lr):\n    u = g * 6.0\n    u = u * lr\n    return u",
    strategy="constants",
    seed=1,
    repeats=1,
    slack=10.0,
    batch=4,
    lag=2,
    max_state_bytes=0.0,
)


@pytest.fixture(scope="module")
def plan() -> SearchPlan:
    return tiny_plan(SETTINGS)


@pytest.fixture(scope="module")
def alone(plan: SearchPlan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The history of a search without workers."""
    path = tmp_path_factory.mktemp("alone") / "run"
    train_search(path, plan, PROGRAMS)
    return rows(path / "journal.sqlite")


def test_a_real_search_has_everything(alone: dict[str, list[Any]]) -> None:
    stages = Counter(v.stage_name.split(":")[0] for v in alone["verdicts"])
    assert stages["judged"] > 5 and stages["probe"] > 0
    assert any(name.startswith(("Blobs", "Sums")) for name in stages)
    assert any(v.audit_fitness is not None for v in alone["verdicts"])
    assert any(kind == "rescore" for _, kind, _ in alone["events"])


def test_the_warm_start_is_judged_against_the_baseline(alone: dict[str, list[Any]]) -> None:
    first = alone["verdicts"][0]
    assert first.stage_name == "judged" and set(first.scores) == {"Blobs", "Sums"}
    means = [sum(values) / len(values) for values in first.scores.values()]
    assert first.fitness == pytest.approx(sum(means) / 2)


@pytest.mark.parametrize(
    "workers",
    [pytest.param(1, marks=pytest.mark.slow), 2],  # the sessions below have one
)
def test_workers_write_the_same_history(
    workers: int, alone: dict[str, list[Any]], plan: SearchPlan, tmp_path: Path
) -> None:
    train_search(tmp_path / "run", plan, PROGRAMS, workers)
    assert rows(tmp_path / "run" / "journal.sqlite") == alone


@pytest.mark.slow
def test_sessions_with_different_workers_write_the_same_history(
    alone: dict[str, list[Any]], plan: SearchPlan, tmp_path: Path
) -> None:
    for programs, workers in ((30, 0), (70, 1), (PROGRAMS, 0)):
        train_search(tmp_path / "run", plan, programs, workers)
    assert rows(tmp_path / "run" / "journal.sqlite") == alone


@pytest.mark.filterwarnings("ignore:task .* cannot be batched")
@pytest.mark.parametrize(
    "task",
    [
        Deadly,
        pytest.param(Hanging, marks=pytest.mark.slow),
    ],
)
def test_programs_that_end_or_hang_their_worker(task: type[Deadly], tmp_path: Path) -> None:
    plan, path = tiny_plan(WILD, [task()]), tmp_path / "run"
    train_search(path, plan, 9, workers=1, timeout=3.0 if task is Hanging else 60.0)
    history = rows(path / "journal.sqlite")
    culprits = [v for v in history["verdicts"] if v.stage_name == KILLER]
    judged = [v for v in history["verdicts"] if v.stage_name == "judged"]
    assert culprits and judged, Counter(v.stage_name for v in history["verdicts"])
    kinds = Counter(kind for _, kind, _ in history["events"])
    assert kinds["killer"] == len(culprits)
    assert kinds["timeout" if task is Hanging else "worker_death"] >= 2 + 2 * len(culprits)
    train_search(path, plan, 9)  # reading needs no worker, and no program dies again
    assert rows(path / "journal.sqlite") == history
    with Journal.open(path / "journal.sqlite", write=False) as journal:
        assert all(v.stage == -1 for v in journal.verdicts() if v.stage_name == KILLER)


@pytest.mark.filterwarnings("ignore:task .* cannot be batched")
@pytest.mark.slow
def test_a_job_that_hangs_does_not_hold_the_end_of_a_search(tmp_path: Path) -> None:
    """The limit of a job is ten minutes; the search has a second, and what follows waits no longer
    than it is told."""
    plan = tiny_plan(WILD, [Hanging()])
    executor = make_executor(plan, workers=1)
    try:
        with RunDirectory.create(tmp_path / "run", plan.stored()) as directory:
            search = make_search(plan, JobRunner(executor, directory.journal))
            history = search.run(Budget(1 / 60, None))
            assert 1 <= history.tally.proposals < 9, "the batch after the first one hangs"
            start = time.monotonic()
            executor.abandon(0.5)
            executor.submit(0, Judge((), (math.inf,), ()))  # a key that the search has used
            outcome = executor.next()
            assert isinstance(outcome, Completed) and outcome.result == []
            assert time.monotonic() - start < JOB_SECONDS / 10
    finally:
        executor.close()


def test_what_is_in_flight_at_the_end_is_dropped(plan: SearchPlan, tmp_path: Path) -> None:
    executor = make_executor(plan, workers=0)
    assert isinstance(executor, InlineExecutor)
    with RunDirectory.create(tmp_path / "run", plan.stored()) as directory:
        search = make_search(plan, JobRunner(executor, directory.journal))
        search.run(Budget(None, 20))
        assert executor.outstanding
        executor.abandon(60.0)
        assert not executor.outstanding
