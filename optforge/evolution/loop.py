"""The search: regularized evolution over programs, one batch after the other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optforge.evolution.history import History
from optforge.evolution.propose import Draft, Proposer, is_audited
from optforge.evolution.rescale import Yardstick
from optforge.evolution.rescore import plan_rescore, rescore_events
from optforge.evolution.settings import Settings
from optforge.execution import Executor
from optforge.fitness import Judge, Measure, Outcome
from optforge.jobs import Recovery
from optforge.runs import Event, Journal, Proposal, Verdict

Stop = Callable[[History], bool]
Watch = Callable[[History], None]
_Stored = tuple[list[Proposal], list[Verdict], list[Event]]


@dataclass
class _Flight:
    """A batch on its way: its drafts and what the executor still owes."""

    number: int
    drafts: list[Draft]
    job: Judge
    rescore: list[Measure] = field(default_factory=list)
    rescored: str | None = None
    outcomes: list[Outcome] | None = None
    measured: dict[int, list[list[float]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.outcomes is not None and len(self.measured) == len(self.rescore)


class Search:
    """A search over one journal.

    The order of things never depends on the workers: batch n is drawn when batch n - lag is
    committed, and batches are committed in order.

    Args:
        settings: Of the run.
        journal: Open for writing; committed batches are replayed first.
        executor: Where jobs run.
        slacks: What is added to the hurdle at each position of a trace.
        rescore_seeds: Fresh seeds of each task for re-scoring.
        rescore_baseline: Log losses of the baseline on them.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        executor: Executor,
        slacks: Sequence[float],
        rescore_seeds: Mapping[str, Sequence[int]],
        rescore_baseline: Mapping[str, Sequence[float]],
        yardstick: Yardstick | None = None,
    ) -> None:
        self.settings, self.journal, self.executor = settings, journal, executor
        self.rescore_baseline, self.rescore_seeds = rescore_baseline, rescore_seeds
        self.history = History(settings, slacks)
        self.proposer = Proposer(settings, self.history, yardstick)
        self.recovery = Recovery(executor, journal)
        self.flights: dict[int, _Flight] = {}
        self.stored: dict[int, _Stored] = {}
        self.generating_seconds = 0.0
        self.replaying = True  # until all that the journal holds has been read

    def run(self, stop: Stop, watch: Watch = lambda history: None) -> History:
        """Search until told to stop.

        Args:
            stop: Asked after every committed batch, and while waiting.
            watch: Shown the history after every batch and now and then while waiting.

        Returns:
            The history of all committed batches.
        """
        replay, settled = self._replay(), 0
        for number in itertools.count():
            # Batch 0, the warm start, is the measure of all others and is waited for.
            due = max(number - self.settings.lag + 1, min(number, 1))
            while settled < due and not stop(self.history):
                if not self._settle(settled, stop, watch):
                    return self.history
                settled += 1
            if stop(self.history):
                return self.history
            if (stored := next(replay, None)) is not None:
                self.stored[number] = stored
                self.proposer.note_stored(number, stored[0])
            else:
                self.replaying = bool(self.stored)
                self._launch(number)
        raise AssertionError("unreachable")

    def drain(self, seconds: float) -> bool:
        """Wait for what is in flight and drop it, so that the executor is free for others.

        Args:
            seconds: The longest to wait; a batch takes some, and one that hangs would take all of
                the time limit of a job.

        Returns:
            Whether the executor is free; if not, only closing it ends what still runs.
        """
        end = time.monotonic() + seconds
        while self.recovery.outstanding:
            outcome = self.executor.next(timeout=max(0.0, min(1.0, end - time.monotonic())))
            if outcome is not None:
                self.recovery.drop(outcome)
            elif time.monotonic() >= end:
                return False
        return True

    def _launch(self, number: int) -> None:
        """Draw a batch and hand it to the executor."""
        start = time.perf_counter()
        drafts = self.proposer.batch(number)
        begun = self.proposer.begun
        fresh = [draft for draft in drafts if draft.new]
        job = Judge(
            tuple(draft.program for draft in fresh),
            self.history.hurdles(begun.fingerprint if begun else None),
            tuple(is_audited(self.settings, draft.fingerprint) for draft in fresh),
            given=number == 0,
        )
        flight = _Flight(number, drafts, job)
        flight.rescored, flight.rescore = plan_rescore(
            self.settings, self.history, number, self.rescore_seeds, self._rescoring()
        )
        self.flights[number] = flight
        self.generating_seconds += time.perf_counter() - start
        self.recovery.submit(number, 0, job)
        for place, measure in enumerate(flight.rescore, 1):
            self.recovery.submit(number, place, measure)

    def _rescoring(self) -> set[str | None]:
        """Give the programs that batches not yet committed measure on fresh seeds.

        Of batches that a resumed run replays as well, so that it decides as an unbroken one.
        """
        events = (event for _, _, stored in self.stored.values() for event in stored)
        replayed = {e.detail["fingerprint"] for e in events if e.kind == "rescore"}
        return replayed | {flight.rescored for flight in self.flights.values()}

    def _settle(self, number: int, stop: Stop, watch: Watch) -> bool:
        """Wait for a batch and commit it; False if the search was stopped meanwhile."""
        if number in self.stored:
            self._apply(number, *self.stored.pop(number))
            return True
        flight = self.flights[number]
        while not flight.complete:
            self._collect(watch)
            if not flight.complete and stop(self.history):
                return False
        self._commit(flight)
        watch(self.history)
        return True

    def _collect(self, watch: Watch) -> None:
        outcome = self.executor.next(timeout=0.25)
        if outcome is None:
            watch(self.history)
            return
        finished = self.recovery.receive(outcome)
        if finished is None:
            return
        number, place, result = finished
        flight = self.flights[number]
        if place == 0:
            flight.outcomes = result
        else:
            flight.measured[place] = result

    def _commit(self, flight: _Flight) -> None:
        start = time.perf_counter()
        proposals, verdicts = self._rows(flight)
        events = rescore_events(flight, self.rescore_baseline)
        events += [
            Event(flight.number, "mismatch", {"fingerprint": draft.fingerprint})
            for draft in flight.drafts
            if draft.mismatch
        ]
        self.journal.commit(flight.number, proposals, verdicts, events)
        self._apply(flight.number, proposals, verdicts, events)
        self.generating_seconds += time.perf_counter() - start

    def _apply(
        self,
        number: int,
        proposals: Sequence[Proposal],
        verdicts: Iterable[Verdict],
        events: Iterable[Event],
    ) -> None:
        self.history.apply(proposals, verdicts, events)
        self.proposer.settle(number)
        self.flights.pop(number, None)

    def _rows(self, flight: _Flight) -> tuple[list[Proposal], list[Verdict]]:
        assert flight.outcomes is not None
        fresh = [draft for draft in flight.drafts if draft.new]
        verdicts = [
            Verdict(id=self.history.next_verdict + i, fingerprint=draft.fingerprint, **vars(o))
            for i, (draft, o) in enumerate(zip(fresh, flight.outcomes, strict=True))
        ]
        own = {verdict.fingerprint: verdict.id for verdict in verdicts}
        proposals = [
            Proposal(
                number=draft.number,
                batch=flight.number,
                phase=draft.phase,
                parent=draft.parent,
                mutation=draft.mutation,
                program=draft.program.text,
                fingerprint=draft.fingerprint,
                verdict=own[draft.fingerprint]
                if draft.fingerprint in own
                else self.history.known[draft.fingerprint].id,
                cached=not draft.new,
            )
            for draft in flight.drafts
        ]
        return proposals, verdicts

    def _replay(self) -> Iterator[_Stored]:
        """Read committed batches of a resumed run, in order."""
        committed = self.journal.batches
        if not committed:
            return
        proposals, verdicts = self.journal.proposals(), self.journal.verdicts()
        events: dict[int, list[Event]] = {}
        for event in self.journal.events():
            if event.batch < committed:
                events.setdefault(event.batch, []).append(event)
        proposal, verdict = next(proposals, None), next(verdicts, None)
        for number in range(committed):
            rows, judged = [], []
            while proposal is not None and proposal.batch == number:
                rows.append(proposal)
                proposal = next(proposals, None)
            new = {row.verdict for row in rows if not row.cached}
            while verdict is not None and verdict.id in new:
                judged.append(verdict)
                verdict = next(verdicts, None)
            yield rows, judged, events.get(number, [])
