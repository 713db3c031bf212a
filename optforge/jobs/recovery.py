"""Recovery when a worker dies or hangs: the job is repeated, and the culprit isolated."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from optforge.errors import SearchError
from optforge.execution import Completed, Executor, Failed
from optforge.jobs.failures import FailureLog, JobKey
from optforge.runs import Journal

_TRIES = 2  # of a job, then of each of its parts alone
_KNOWN_CULPRIT = Failed(0, "died", "it ended its worker twice")


class Job(Protocol):
    """A job for an executor, of one or several parts that can be done alone."""

    def parts(self) -> Sequence[Job]:
        """Return the jobs of one part each, in order."""
        ...

    def joined(self, results: Sequence[Any]) -> Any:
        """Join the results of the parts to the result of the whole job."""
        ...

    def lost(self, failure: Failed) -> Any:
        """Return a substitute for the result of a part that kills its workers."""
        ...


@dataclass
class _Work:
    """A job and its failures; after two failures its parts are done one by one."""

    key: JobKey
    job: Job
    failures: int
    strikes: Counter[int]  # failures of each part alone
    results: dict[int, Any] = field(default_factory=dict)  # of parts

    @cached_property
    def parts(self) -> Sequence[Job]:
        return self.job.parts()


class Recovery:
    """Submits jobs, resubmits those whose worker died, and isolates parts that kill workers.

    A part that kills its worker twice on its own is lost: a program then gets the worst verdict, or
    infinite losses if it is measured. Every death and time-out is recorded in the journal at once,
    so that a resumed run treats the batch as the interrupted one did.

    Args:
        executor: Runs the jobs; it must not be used by anything else meanwhile.
        journal: Journal for the events, if any.
        retry_timeouts: Whether a job that took too long is repeated, like one whose worker died.
    """

    def __init__(
        self, executor: Executor, journal: Journal | None = None, retry_timeouts: bool = True
    ) -> None:
        self.executor, self.retry_timeouts = executor, retry_timeouts
        self._log = FailureLog(journal)
        self._numbers = itertools.count()
        self._submitted: dict[int, tuple[_Work, int | None]] = {}  # None: the job as a whole
        self._finished: deque[tuple[JobKey, Any]] = deque()

    def submit(self, key: JobKey, job: Job) -> None:
        """Submit a job under a key that no other job in flight has."""
        self._start(_Work(key, job, self._log.of_job(key), self._log.of_parts(key)))

    def next(self, timeout: float | None = None) -> tuple[JobKey, Any] | None:
        """Wait for the executor once; return key and result of a finished job, or None.

        Args:
            timeout: Longest time to wait in seconds; None for no limit.

        Raises:
            JobError: If a job raised an exception, which is a defect and not the fault of a
                program.
        """
        if not self._finished:
            outcome = self.executor.next(timeout=timeout)
            if outcome is not None:
                self._receive(outcome)
        return self._finished.popleft() if self._finished else None

    def _start(self, work: _Work) -> None:
        if work.failures < _TRIES:
            self._submit(work, None)
            return
        for part in range(len(work.parts)):
            if work.strikes[part] < _TRIES:
                self._submit(work, part)
            else:  # found out before the run was interrupted
                self._lose(work, part, _KNOWN_CULPRIT)
        self._finish(work)

    def _submit(self, work: _Work, part: int | None) -> None:
        number = next(self._numbers)
        self._submitted[number] = (work, part)
        self.executor.submit(number, work.job if part is None else work.parts[part])

    def _receive(self, outcome: Completed | Failed) -> None:
        work, part = self._submitted.pop(outcome.key)
        if isinstance(outcome, Failed):
            if outcome.reason == "error":
                raise JobError(work.job, outcome.detail)
            self._log.add(work.key, part, outcome)
            self._retry(work, part, outcome)
        elif part is None:
            self._finished.append((work.key, outcome.result))
        else:
            work.results[part] = outcome.result
            self._finish(work)

    def _retry(self, work: _Work, part: int | None, failure: Failed) -> None:
        """Repeat a job, then its parts alone, as long as they have tries left."""
        final = failure.reason == "timeout" and not self.retry_timeouts
        if part is None:
            work.failures += 1
            if len(work.parts) != 1 or (work.failures < _TRIES and not final):
                self._start(work)
                return
            part = 0  # it was alone all the time
        else:
            work.strikes[part] += 1
            if work.strikes[part] < _TRIES and not final:
                self._submit(work, part)
                return
        self._lose(work, part, failure)
        self._finish(work)

    def _lose(self, work: _Work, part: int, failure: Failed) -> None:
        self._log.add_culprit(work.key, part)
        work.results[part] = work.parts[part].lost(failure)

    def _finish(self, work: _Work) -> None:
        """Join the results of the parts if all of them are there."""
        if len(work.results) == len(work.parts):
            results = [work.results[part] for part in range(len(work.parts))]
            self._finished.append((work.key, work.job.joined(results)))


class JobError(SearchError):
    """A job that raised an exception.

    Args:
        job: The job.
        detail: The traceback; its last line is the message, the whole is a note.
    """

    def __init__(self, job: Any, detail: str) -> None:
        lines = detail.strip().splitlines() or ["no reason given"]
        super().__init__(f"the evaluation failed: {lines[-1]}")
        self.job, self.detail = job, detail
        self.add_note(detail)
