"""What happens when a worker dies or hangs: the job is done again, a culprit is found."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from optforge.errors import SearchError
from optforge.execution import Completed, Executor, Failed
from optforge.fitness import Judge, Measure, Outcome
from optforge.runs import Event, Journal

KILLER = "killed its worker"
_NOTHING = -1  # the part of a job in which all programs are known to be culprits


@dataclass
class _Work:
    """One job of a batch; after two failures its programs are done one by one."""

    batch: int
    place: int
    job: Judge | Measure
    failures: int = 0
    parts: dict[int, Any] = field(default_factory=dict)
    strikes: dict[int, int] = field(default_factory=dict)


class Recovery:
    """Submits jobs, resubmits those whose worker died, and isolates programs that kill workers.

    A program that ends its worker twice by itself gets the worst verdict, or infinite losses where
    it is measured. Every death and time-out is an event in the journal, recorded at once, so that
    a resumed run treats the batch as the interrupted one did.

    Args:
        journal: Takes the events.
        executor: Runs the jobs.
    """

    def __init__(self, journal: Journal, executor: Executor) -> None:
        self.journal, self.executor = journal, executor
        self._next = 0
        self._work: dict[int, tuple[_Work, int | None]] = {}
        self._failures, self._culprits = self._recorded()

    def submit(self, batch: int, place: int, job: Judge | Measure) -> None:
        """Hand over a job of a batch."""
        known = self._failures.get((batch, place), {})
        strikes = {part: count for part, count in known.items() if part is not None}
        self._start(_Work(batch, place, job, known.get(None, 0), strikes=strikes))

    def receive(self, outcome: Completed | Failed) -> tuple[int, int, Any] | None:
        """Take what the executor gave; the finished job with its result, if it is one.

        Raises:
            SearchError: If a job raised an exception, which is a defect and not a bad program.
        """
        work, part = self._work.pop(outcome.key)
        if isinstance(outcome, Completed):
            if part is None:
                return work.batch, work.place, outcome.result
            if part != _NOTHING:
                work.parts[part] = outcome.result[0]
            return self._assembled(work)
        if outcome.reason == "error":
            error = SearchError(
                f"the evaluation of batch {work.batch} failed: {_last_line(outcome.detail)}"
            )
            error.add_note(outcome.detail)
            raise error
        return self._failed(work, part, outcome)

    @property
    def outstanding(self) -> int:
        """Jobs that the executor still owes."""
        return len(self._work)

    def drop(self, outcome: Completed | Failed) -> None:
        """Take an outcome that nobody waits for any more."""
        del self._work[outcome.key]

    def _start(self, work: _Work) -> None:
        if work.failures < 2:
            self._submit(work, None, work.job)
            return
        for part in range(len(work.job.programs)):
            if work.strikes.get(part, 0) < 2:
                self._submit(work, part, _only(work.job, part))
            else:  # found out before the run was interrupted
                self._condemn(work, part)
        if len(work.parts) == len(work.job.programs):
            self._submit(work, _NOTHING, Judge((), (), ()))

    def _submit(self, work: _Work, part: int | None, job: Judge | Measure) -> None:
        self._work[self._next] = (work, part)
        self.executor.submit(self._next, job)
        self._next += 1

    def _failed(
        self, work: _Work, part: int | None, outcome: Failed
    ) -> tuple[int, int, Any] | None:
        kind = "timeout" if outcome.reason == "timeout" else "worker_death"
        detail = {"place": work.place, "program": part, "detail": outcome.detail}
        self.journal.record(Event(work.batch, kind, detail))
        if part is None:
            work.failures += 1
            self._start(work)
            return None
        work.strikes[part] = work.strikes.get(part, 0) + 1
        if work.strikes[part] < 2:
            self._submit(work, part, _only(work.job, part))
            return None
        self._condemn(work, part)
        return self._assembled(work)

    def _condemn(self, work: _Work, part: int) -> None:
        if (work.batch, work.place, part) not in self._culprits:
            detail = {"place": work.place, "program": part}
            self.journal.record(Event(work.batch, "killer", detail))
        job = work.job
        work.parts[part] = [math.inf] * len(job.seeds) if isinstance(job, Measure) else _killer()

    def _assembled(self, work: _Work) -> tuple[int, int, Any] | None:
        count = len(work.job.programs)
        if len(work.parts) < count:
            return None
        return work.batch, work.place, [work.parts[part] for part in range(count)]

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
        committed = self.journal.batches
        for event in self.journal.events():
            if event.batch < committed:
                continue
            if event.kind in ("timeout", "worker_death"):
                failures[event.batch, event.detail["place"]][event.detail["program"]] += 1
            elif event.kind == "killer":
                culprits.add((event.batch, event.detail["place"], event.detail["program"]))
        return failures, culprits


def _only(job: Judge | Measure, part: int) -> Judge | Measure:
    if isinstance(job, Measure):
        return replace(job, programs=(job.programs[part],))
    return replace(job, programs=(job.programs[part],), audits=(job.audits[part],))


def _killer() -> Outcome:
    """The verdict on a program that ended its worker twice: the worst there is."""
    return Outcome("", math.inf, -1, KILLER, math.inf, None, math.inf, 0, {}, (), 0, 0.0)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "no reason given"
