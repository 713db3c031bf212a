"""What happens when a worker dies or hangs: the job is done again, a culprit is found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from optforge.errors import SearchError
from optforge.execution import Completed, Executor, Failed
from optforge.fitness import Judge
from optforge.runs import Event, Journal

_TRIES = 2  # of a job, then of each of its parts alone
_NOTHING = -1  # the part of a job in which all are known to be culprits


class Job(Protocol):
    """What an executor answers, of one or several parts that can be done alone."""

    def parts(self) -> Sequence[Job]:
        """Return the jobs of one part each, in order."""
        ...

    def joined(self, results: Sequence[Any]) -> Any:
        """Return the result of the whole job from those of its parts."""
        ...

    def lost(self, failure: Failed) -> Any:
        """Return what stands for the result of a part that ends its workers."""
        ...


@dataclass
class _Work:
    """One job of a batch; after two failures its parts are done one by one."""

    batch: int
    place: int
    job: Any
    failures: int = 0
    parts: dict[int, Any] = field(default_factory=dict)
    strikes: dict[int, int] = field(default_factory=dict)


class Recovery:
    """Submits jobs, resubmits those whose worker died, and isolates parts that kill workers.

    A part that ends its worker twice by itself is lost: a program then gets the worst verdict, or
    infinite losses where it is measured. Every death and time-out is an event in the journal,
    recorded at once, so that a resumed run treats the batch as the interrupted one did.

    Args:
        executor: Runs the jobs.
        journal: Takes the events, where there is one.
        retry_timeouts: Whether a job that took too long is done again, as one whose worker died.
    """

    def __init__(
        self, executor: Executor, journal: Journal | None = None, retry_timeouts: bool = True
    ) -> None:
        self.executor, self.journal, self.retry_timeouts = executor, journal, retry_timeouts
        self._next = 0
        self._work: dict[int, tuple[_Work, int | None]] = {}
        self._failures, self._culprits = self._recorded()

    def submit(self, batch: int, place: int, job: Job) -> None:
        """Hand over a job of a batch."""
        known = self._failures.get((batch, place), {})
        strikes = {part: count for part, count in known.items() if part is not None}
        self._start(_Work(batch, place, job, known.get(None, 0), strikes=strikes))

    def receive(self, outcome: Completed | Failed) -> tuple[int, int, Any] | None:
        """Take what the executor gave; the finished job with its result, if it is one.

        Raises:
            JobError: If a job raised an exception, which is a defect and not a bad program.
        """
        work, part = self._work.pop(outcome.key)
        if isinstance(outcome, Completed):
            if part is None:
                return work.batch, work.place, outcome.result
            if part != _NOTHING:
                work.parts[part] = outcome.result
            return self._assembled(work)
        if outcome.reason == "error":
            raise JobError(work.job, outcome.detail)
        return self._failed(work, part, outcome)

    @property
    def outstanding(self) -> int:
        """Jobs that the executor still owes."""
        return len(self._work)

    def drop(self, outcome: Completed | Failed) -> None:
        """Take an outcome that nobody waits for any more."""
        del self._work[outcome.key]

    def _start(self, work: _Work) -> None:
        if work.failures < _TRIES:
            self._submit(work, None, work.job)
            return
        parts = work.job.parts()
        for part, job in enumerate(parts):
            if work.strikes.get(part, 0) < _TRIES:
                self._submit(work, part, job)
            else:  # found out before the run was interrupted
                self._condemn(work, part, Failed(0, "died", "it ended its worker twice"))
        if len(work.parts) == len(parts):
            self._submit(work, _NOTHING, Judge((), (), ()))

    def _submit(self, work: _Work, part: int | None, job: Job) -> None:
        self._work[self._next] = (work, part)
        self.executor.submit(self._next, job)
        self._next += 1

    def _failed(
        self, work: _Work, part: int | None, outcome: Failed
    ) -> tuple[int, int, Any] | None:
        kind = "timeout" if outcome.reason == "timeout" else "worker_death"
        detail = {"place": work.place, "program": part, "detail": outcome.detail}
        self._record(Event(work.batch, kind, detail))
        final = outcome.reason == "timeout" and not self.retry_timeouts
        if part is None:
            work.failures += 1
            if len(work.job.parts()) == 1 and (final or work.failures == _TRIES):
                self._condemn(work, 0, outcome)  # it was alone all the time
                return self._assembled(work)
            self._start(work)
            return None
        work.strikes[part] = work.strikes.get(part, 0) + 1
        if work.strikes[part] < _TRIES and not final:
            self._submit(work, part, work.job.parts()[part])
            return None
        self._condemn(work, part, outcome)
        return self._assembled(work)

    def _condemn(self, work: _Work, part: int, failure: Failed) -> None:
        if (work.batch, work.place, part) not in self._culprits:
            self._record(Event(work.batch, "killer", {"place": work.place, "program": part}))
        work.parts[part] = work.job.parts()[part].lost(failure)

    def _assembled(self, work: _Work) -> tuple[int, int, Any] | None:
        count = len(work.job.parts())
        if len(work.parts) < count:
            return None
        return work.batch, work.place, work.job.joined([work.parts[p] for p in range(count)])

    def _record(self, event: Event) -> None:
        if self.journal is not None:
            self.journal.record(event)

    def _recorded(
        self,
    ) -> tuple[dict[tuple[int, int], Counter[int | None]], set[tuple[int, int, int]]]:
        """Count what happened to an interrupted run in batches that it did not commit.

        Returns:
            For each batch and place the failures of the whole job (None) and of single programs;
            the culprits by batch, place and program.
        """
        failures: dict[tuple[int, int], Counter[int | None]] = defaultdict(Counter)
        culprits: set[tuple[int, int, int]] = set()
        if self.journal is None:
            return failures, culprits
        committed = self.journal.batches
        for event in self.journal.events():
            if event.batch < committed:
                continue
            if event.kind in ("timeout", "worker_death"):
                failures[event.batch, event.detail["place"]][event.detail["program"]] += 1
            elif event.kind == "killer":
                culprits.add((event.batch, event.detail["place"], event.detail["program"]))
        return failures, culprits


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
