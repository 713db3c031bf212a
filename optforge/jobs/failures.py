"""Failures of jobs in the journal, which still count when an interrupted run is resumed."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from optforge.execution import Failed
from optforge.runs import Event, Journal

OUTSIDE = -1  # the batch of jobs that are not part of a search
_KINDS = {"timeout": "timeout", "died": "worker_death"}


class JobKey(NamedTuple):
    """Key of a job in the journal; a resumed run gives the same job the same key.

    Args:
        batch: The batch of the search that waits for the job, or ``OUTSIDE``.
        place: Its index among the jobs of the batch.
    """

    batch: int
    place: int


class FailureLog:
    """Writes deaths, time-outs and culprits to a journal, and reads those of an interrupted run.

    Args:
        journal: The journal, read once for failures in batches that are not committed; None to
            store nothing.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._failures: defaultdict[JobKey, Counter[int | None]] = defaultdict(Counter)
        self._culprits: set[tuple[JobKey, int]] = set()
        if journal is not None:
            self._read(journal)

    def of_job(self, key: JobKey) -> int:
        """Return how often the whole job had failed when the run was interrupted."""
        return self._failures[key][None]

    def of_parts(self, key: JobKey) -> Counter[int]:
        """Return how often each part had failed alone when the run was interrupted."""
        counts = self._failures[key].items()
        return Counter({part: count for part, count in counts if part is not None})

    def add(self, key: JobKey, part: int | None, failure: Failed) -> None:
        """Record the failure of a job, or of one of its parts."""
        detail = {"place": key.place, "program": part, "detail": failure.detail}
        self._write(Event(key.batch, _KINDS[failure.reason], detail))

    def add_culprit(self, key: JobKey, part: int) -> None:
        """Record, once, that a part kills its workers."""
        if (key, part) not in self._culprits:
            self._write(Event(key.batch, "killer", {"place": key.place, "program": part}))

    def _write(self, event: Event) -> None:
        if self._journal is not None:
            self._journal.record(event)

    def _read(self, journal: Journal) -> None:
        committed = journal.batches
        for event in journal.events():
            if event.batch < committed or event.kind not in (*_KINDS.values(), "killer"):
                continue
            key, part = JobKey(event.batch, event.detail["place"]), event.detail["program"]
            if event.kind == "killer":
                self._culprits.add((key, part))
            else:
                self._failures[key][part] += 1
