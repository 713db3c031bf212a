"""The contract, held by both executors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest

from optforge.errors import SearchError
from optforge.execution import Completed, Executor, Failed, InlineExecutor, WorkerPool
from tests.execution.factories import answers, broken, leaving


@pytest.fixture(scope="module", params=["inline", "pool"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor = (
        InlineExecutor(answers)
        if request.param == "inline"
        else WorkerPool(answers, workers=2, timeout=60)
    )
    yield made
    made.close()


def gather(
    executor: Executor, jobs: Mapping[int, tuple[str, object]]
) -> dict[int, Completed | Failed]:
    for key, job in jobs.items():
        executor.submit(key, job)
    outcomes = [executor.next() for _ in jobs]
    found = {outcome.key: outcome for outcome in outcomes if outcome is not None}
    assert len(found) == len(jobs)
    return found


def test_every_job_is_answered_once(executor: Executor) -> None:
    outcomes = gather(executor, {key: ("double", key) for key in range(40)})
    for key, outcome in outcomes.items():
        assert isinstance(outcome, Completed)
        assert outcome.result == 2 * key
        assert 0 <= outcome.seconds < 10


@pytest.mark.parametrize("job", [("divide", 0), ("sys.exit", 3), ("no such word", None)])
def test_an_exception_is_an_outcome(executor: Executor, job: tuple[str, object]) -> None:
    outcomes = gather(executor, {1: job, 2: ("double", 4)})
    failed = outcomes[1]
    assert isinstance(failed, Failed) and failed.reason == "error"
    assert "Traceback" in failed.detail
    assert isinstance(outcomes[2], Completed)


def test_what_is_abandoned_is_not_returned(executor: Executor) -> None:
    """Not under a key that is used again, either."""
    for key in (1, 2, 3, 4):
        executor.submit(key, ("sleep", 0.2))
    executor.abandon(60.0)
    with pytest.raises(SearchError, match="no job to wait for"):
        executor.next(timeout=0.1)
    outcomes = gather(executor, {key: ("double", key) for key in (1, 2, 3)})
    assert [outcomes[key].result for key in (1, 2, 3)] == [2, 4, 6]  # type: ignore[union-attr]


def test_keys_are_unique_and_waiting_for_nothing_is_an_error(executor: Executor) -> None:
    with pytest.raises(SearchError, match="no job to wait for"):
        executor.next(timeout=0.1)
    executor.submit(1, ("double", 1))
    with pytest.raises(SearchError, match="key 1 is waiting already"):
        executor.submit(1, ("double", 1))
    executor.next()


def test_both_executors_compute_the_same_numbers() -> None:
    """The sums are long enough that several threads would round them differently."""
    jobs = {seed: ("numbers", seed) for seed in range(3)}
    inline = InlineExecutor(answers)
    expected = gather(inline, jobs)
    with WorkerPool(answers, workers=1, timeout=60) as pool:
        found = gather(pool, jobs)
    for seed in jobs:
        assert found[seed].result == expected[seed].result  # type: ignore[union-attr]


def test_inline_reports_a_broken_factory_and_keeps_a_job_through_ctrl_c() -> None:
    with pytest.raises(SearchError, match="cannot start: the data set is missing"):
        InlineExecutor(broken)
    calls: list[int] = []

    def interrupted_once(job: int) -> int:
        calls.append(job)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return job

    executor = InlineExecutor(lambda: interrupted_once)
    executor.submit(1, 5)
    with pytest.raises(KeyboardInterrupt):
        executor.next()
    assert executor.outstanding == 1
    assert isinstance(executor.next(), Completed)
    executor.submit(2, 5)
    executor.close()
    assert executor.outstanding == 0


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_what_a_job_prints_fails_nothing(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a sign that the output lacks, nor a reader that has gone."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    reader, writer = os.pipe()
    before = os.dup(1)
    os.dup2(writer, 1)  # what workers inherit
    os.close(writer)
    try:
        with WorkerPool(answers, workers=1, timeout=60) as pool:
            os.close(reader)
            outcomes = gather(pool, {1: ("print", "\xb1" * 100_000), 2: ("print", "again")})
    finally:
        os.dup2(before, 1)
        os.close(before)
    assert all(isinstance(outcome, Completed) for outcome in outcomes.values()), outcomes


def test_a_function_that_cannot_be_built_is_a_sentence() -> None:
    with pytest.raises(SearchError, match="the evaluation cannot start: SystemExit: 3"):
        InlineExecutor(leaving)
