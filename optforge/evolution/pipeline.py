"""Batches in flight: several at once, so that no worker waits, committed in order.

Batch n is drawn when batch n - lag is committed, whatever the number of workers, so that the
history does not depend on it. Batches that are already in the journal are replayed.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from optforge.evolution.candidate import Candidate, DrawnBatch
from optforge.evolution.history import History
from optforge.evolution.overfitting import KIND as VALIDATE
from optforge.evolution.rescore import Rescorer
from optforge.evolution.settings import Settings
from optforge.evolution.validation import Validator
from optforge.fitness import Judge, Outcome
from optforge.jobs import POLL_SECONDS, JobKey, JobRunner
from optforge.runs import Event, Journal, Proposal, Verdict

_JUDGE = 0  # the place of a batch's judgement among its jobs; re-scoring, then validation follow
Stop = Callable[[History], bool]
Watch = Callable[[History], None]


@dataclass(frozen=True)
class JudgedBatch:
    """A batch with its verdicts, ready to be committed.

    Args:
        number: Number of the batch.
        candidates: Its candidates in the order in which they were drawn.
        verdicts: Verdicts on the new candidates, in the same order.
        ids: Number of the verdict of each candidate.
        events: Events that belong to the batch.
        replayed: Whether the batch is already in the journal.
    """

    number: int
    candidates: Sequence[Candidate]
    verdicts: Sequence[Verdict]
    events: Sequence[Event]
    ids: Sequence[int] = ()
    replayed: bool = False

    def rows(self) -> list[Proposal]:
        """Return the candidates as rows for the journal."""
        both = zip(self.candidates, self.ids, strict=True)
        return [candidate.proposal(self.number, verdict) for candidate, verdict in both]


Draw = Callable[[int], DrawnBatch]
Check = Callable[[DrawnBatch, JudgedBatch], None]


@dataclass
class _Flight:
    """A batch on its way, and the results that have arrived so far."""

    batch: DrawnBatch
    leader: Candidate | None = None  # measured on fresh seeds with this batch
    validated: Candidate | None = None  # measured on larger tasks with this batch
    of_leader: int = 0  # number of jobs of the former
    results: dict[int, Any] = field(default_factory=dict)  # of its jobs, by place
    jobs: int = 0
    judged: JudgedBatch | None = None  # of the journal

    @property
    def is_complete(self) -> bool:
        return len(self.results) == self.jobs

    def measured(self, kind: str, leader: Candidate | None) -> str | None:
        """Return the fingerprint of the program that is measured in this way with this batch."""
        events = self.judged.events if self.judged else ()
        stored = [e.detail["fingerprint"] for e in events if e.kind == kind]
        return stored[0] if stored else leader.fingerprint if leader else None


class Pipeline:
    """Has batches judged, several at once, and returns them in order.

    Args:
        history: Updated with each returned batch before the next one is returned.
        runner: Runs the jobs and decides when to stop.
        journal: Journal whose committed batches are replayed.
        rescorer: Measures the leading programs on fresh seeds.
        validator: Measures incumbents on larger tasks.
    """

    def __init__(
        self,
        history: History,
        runner: JobRunner,
        journal: Journal,
        rescorer: Rescorer,
        validator: Validator,
    ) -> None:
        self.history, self.runner = history, runner
        self.rescorer, self.validator = rescorer, validator
        self.settings, self.journal = history.settings, journal
        self.recovery = runner.recovery()
        self.flights: dict[int, _Flight] = {}
        self.drawn = 0  # candidates of all batches
        self.stopped = False  # by the runner
        self.replaying = True  # until all that the journal holds has been read

    @property
    def start(self) -> Candidate | None:
        """The latest start of a phase that is in flight; None if there is none."""
        starts = [flight.batch.own_start for flight in self.flights.values()]
        return next((start for start in reversed(starts) if start is not None), None)

    @property
    def in_flight(self) -> set[str]:
        """Fingerprints being judged by batches in flight."""
        return {candidate.fingerprint for candidate in self.candidates}

    @property
    def candidates(self) -> list[Candidate]:
        """The candidates being judged by batches in flight."""
        return [c for flight in self.flights.values() for c in flight.batch.candidates if c.new]

    @property
    def _waits(self) -> bool:
        starts = [flight.batch.own_start for flight in self.flights.values()]
        return any(start is not None and start.new for start in starts)

    def judge(
        self, draw: Draw, stop: Stop, watch: Watch, check: Check | None = None
    ) -> Iterator[JudgedBatch]:
        """Yield judged batches in order; the caller commits each before it asks for the next.

        Args:
            draw: Draws the batch with a given number from the current history.
            stop: Called after every batch and while waiting; True ends the search.
            watch: Called with the history after every batch and now and then while waiting.
            check: Called with each batch of the journal, drawn again; it ends with the journal.
        """
        stored, committed = _stored_batches(self.journal), 0
        for number in itertools.count():
            # A start that is judged first, as the warm start, is the measure of what follows.
            due = number if self._waits else number - self.settings.lag + 1
            while committed < due and not self._ends(stop):
                judged = self._wait(self.flights[committed], stop, watch)
                if judged is None:
                    return
                yield judged
                del self.flights[committed]
                committed += 1
                if not judged.replayed:
                    watch(self.history)
            if self._ends(stop):
                return
            replayed = next(stored, None)
            self.replaying = replayed is not None or any(f.judged for f in self.flights.values())
            if replayed is not None:
                if check is not None:
                    check(draw(number), replayed)
                self._replay(replayed)
            elif check is not None:
                return
            else:
                self._launch(draw(number))

    def _ends(self, stop: Stop) -> bool:
        self.stopped = self.stopped or self.runner.interrupted
        return self.stopped or stop(self.history)

    def _replay(self, judged: JudgedBatch) -> None:
        """Put a batch of the journal in flight as it was when it was drawn."""
        batch = DrawnBatch(judged.number, self.drawn, 0, 0)
        for candidate in judged.candidates:
            batch.add(candidate)
        self.flights[judged.number] = _Flight(batch, judged=judged)
        self.drawn += len(batch.candidates)

    def _launch(self, batch: DrawnBatch) -> None:
        """Submit the jobs of a batch to the executor."""
        rescored = {flight.measured("rescore", flight.leader) for flight in self.flights.values()}
        flight = _Flight(batch, self.rescorer.leader(self.history, batch.number, rescored))
        validated = [f.measured(VALIDATE, f.validated) for f in self.flights.values()]
        flight.validated = self.validator.leader(self.history, validated)
        self.flights[batch.number] = flight
        self.drawn += len(batch.candidates)
        again = self.rescorer.jobs(flight.leader) if flight.leader else []
        flight.of_leader = len(again)
        larger = self.validator.jobs(flight.validated) if flight.validated else []
        jobs = [self._judge(batch), *again, *larger]
        flight.jobs = len(jobs)
        for place, job in enumerate(jobs, _JUDGE):
            self.recovery.submit(JobKey(batch.number, place), job)

    def _judge(self, batch: DrawnBatch) -> Judge:
        """Return the job that judges the new candidates of a batch."""
        new = [candidate for candidate in batch.candidates if candidate.new]
        return Judge(
            tuple(candidate.program for candidate in new),
            self.history.hurdles(self.start.fingerprint if self.start else None),
            tuple(is_audited(self.settings, candidate.fingerprint) for candidate in new),
            given=batch.number == 0,
            seed_set=batch.seed_set,
        )

    def _wait(self, flight: _Flight, stop: Stop, watch: Watch) -> JudgedBatch | None:
        """Return a batch once it is judged; None if the search was stopped meanwhile."""
        if flight.judged is not None:
            return flight.judged
        while not flight.is_complete:
            finished = self.recovery.next(timeout=POLL_SECONDS)
            if finished is None:
                watch(self.history)
            else:
                (batch, place), result = finished
                self.flights[batch].results[place] = result
            if not flight.is_complete and self._ends(stop):
                return None
        return self._judged(flight)

    def _judged(self, flight: _Flight) -> JudgedBatch:
        """Return the results of a batch in the form the journal stores."""
        batch, history = flight.batch, self.history
        verdicts = _verdicts(batch, flight.results[_JUDGE], history.next_verdict)
        new = {verdict.fingerprint: verdict.id for verdict in verdicts}
        values = [candidate.fingerprint for candidate in batch.candidates]
        ids = [new[v] if v in new else history.known[v].id for v in values]
        events = []
        measured = [flight.results[place] for place in range(_JUDGE + 1, flight.jobs)]
        again, larger = measured[: flight.of_leader], measured[flight.of_leader :]
        if flight.leader is not None:
            events.append(self.rescorer.event(batch.number, flight.leader, again))
        if flight.validated is not None:
            event = self.validator.event(history, batch.number, flight.validated, larger)
            events.append(event)
        for fingerprint in batch.mismatches:
            events.append(Event(batch.number, "mismatch", {"fingerprint": fingerprint}))
        return JudgedBatch(batch.number, batch.candidates, verdicts, events, ids)


def _verdicts(batch: DrawnBatch, outcomes: Sequence[Outcome], first: int) -> list[Verdict]:
    new = [candidate for candidate in batch.candidates if candidate.new]
    return [
        Verdict(id=first + place, fingerprint=candidate.fingerprint, **vars(outcome))
        for place, (candidate, outcome) in enumerate(zip(new, outcomes, strict=True))
    ]


def _stored_batches(journal: Journal) -> Iterator[JudgedBatch]:
    """Read the committed batches of a resumed run, in order."""
    events: dict[int, list[Event]] = {}
    for event in journal.events():
        events.setdefault(event.batch, []).append(event)
    verdicts = journal.verdicts()
    for number, rows in itertools.groupby(journal.proposals(), key=lambda row: row.batch):
        with journal.content():
            candidates = [Candidate.read(row) for row in rows]
        judged = list(itertools.islice(verdicts, sum(c.new for c in candidates)))
        yield JudgedBatch(number, candidates, judged, events.get(number, []), replayed=True)


def is_audited(settings: Settings, fingerprint: str) -> bool:
    """Return whether a program is trained to the end even if rejected; its content decides."""
    digest = hashlib.sha256(f"audit|{settings.seed}|{fingerprint}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < settings.audit * 2**32
