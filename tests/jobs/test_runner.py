"""Jobs in lists: order of results, window, stop, deadline, and what is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from optforge.errors import StoppedError, TimeIsUpError
from optforge.execution import Completed, Failed, InlineExecutor
from optforge.jobs import JobError, JobRunner
from optforge.runs import Journal


@dataclass(frozen=True)
class Sum:
    """A job over some numbers; each of them is a part."""

    numbers: tuple[int, ...]

    def parts(self) -> list[Sum]:
        return [Sum((number,)) for number in self.numbers]

    def joined(self, results: Sequence[list[Any]]) -> list[Any]:
        return [value for result in results for value in result]

    def lost(self, failure: Failed) -> list[Any]:
        return [failure.reason]


class Failing(InlineExecutor):
    """Jobs with a number above 99 end their worker, those above 199 hang."""

    def __init__(self) -> None:
        super().__init__(lambda: lambda job: list(job.numbers))
        self.most = 0
        self.submitted: list[Sum] = []

    def submit(self, key: int, job: Any) -> None:
        super().submit(key, job)
        self.submitted.append(job)
        self.most = max(self.most, self.outstanding)

    def next(self, timeout: float | None = None) -> Completed | Failed:
        key = next(iter(self._jobs))
        largest = max(self._jobs[key].numbers, default=0)
        if largest < 100:
            return super().next(timeout)
        del self._jobs[key]
        return Failed(key, "timeout" if largest >= 200 else "died", "pretended")


def test_every_job_gives_its_result_and_few_are_handed_over_at_once() -> None:
    executor, jobs = Failing(), [Sum((n, n + 1)) for n in range(7)]
    results = dict(JobRunner(executor, window=2).run(jobs))
    assert results == {n: [n, n + 1] for n in range(7)}
    assert executor.most == 2


def test_a_part_that_ends_its_workers_is_lost_and_no_other(tmp_path: Path) -> None:
    executor = Failing()
    with Journal.create(tmp_path / "journal", {}) as journal:
        results = dict(JobRunner(executor, journal).run([Sum((1, 100, 3)), Sum((4,))]))
        kinds = [event.kind for event in journal.events()]
    assert results == {0: [1, "died", 3], 1: [4]}
    assert kinds == ["worker_death"] * 4 + ["killer"], "twice together, twice alone"


def test_a_job_of_one_part_is_tried_twice_and_not_four_times() -> None:
    executor = Failing()
    assert dict(JobRunner(executor).run([Sum((100,))])) == {0: ["died"]}
    assert len(executor.submitted) == 2


def test_a_time_out_is_tried_again_only_where_that_is_wanted() -> None:
    for again, tries in ((True, 2), (False, 1)):
        executor = Failing()
        runner = JobRunner(executor, retry_timeouts=again)
        assert dict(runner.run([Sum((200,))])) == {0: ["timeout"]}
        assert len(executor.submitted) == tries


def test_a_stop_leaves_at_once_and_keeps_what_came_before() -> None:
    asked = iter([False, False, True])
    found = []
    with pytest.raises(StoppedError):
        for number, _ in JobRunner(Failing(), stop=lambda: next(asked)).run([Sum((1,))] * 5):
            found.append(number)
    assert found == [0, 1]


def test_at_the_deadline_what_is_in_flight_is_waited_for() -> None:
    executor, found = Failing(), []
    runner = JobRunner(executor, window=2)
    with pytest.raises(TimeIsUpError):
        for number, _ in runner.run([Sum((1,))] * 5):
            found.append(number)
            runner.deadline = time.monotonic() - 1
    assert found == [0, 1] and not executor.outstanding


def test_an_exception_in_a_job_names_its_last_line_and_keeps_the_job() -> None:
    def fail(job: Any) -> Any:
        raise ValueError("no such thing")

    job = Sum((1,))
    with pytest.raises(JobError, match="no such thing") as caught:
        list(JobRunner(InlineExecutor(lambda: fail)).run([job]))
    assert caught.value.job is job and "Traceback" in caught.value.detail


def test_progress_is_shown_with_what_is_done() -> None:
    shown: list[tuple[str, int, int]] = []
    runner = JobRunner(Failing(), watch=lambda *state: shown.append(state))
    list(runner.run([Sum((1,)), Sum((2,))], "adding"))
    assert shown == [("adding", 1, 2), ("adding", 2, 2)]
