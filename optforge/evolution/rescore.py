"""Re-scoring of the best programs on fresh seeds while the search goes on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from optforge.evolution.candidate import Candidate
from optforge.evolution.history import History
from optforge.fitness import Measure
from optforge.runs import Event

_LEADERS = 4  # so many must have been measured on fresh seeds before nothing more is


@dataclass(frozen=True)
class Rescorer:
    """Measures the leading programs of a search on fresh seeds, one with every few batches.

    Args:
        every: Number of batches between two re-scorings.
        seeds: The fresh seeds of each task.
        baseline: Log losses of the baseline on those seeds.
    """

    every: int
    seeds: Mapping[str, Sequence[int]]
    baseline: Mapping[str, Sequence[float]]

    def leader(
        self, history: History, batch: int, in_flight: Collection[str | None]
    ) -> Candidate | None:
        """Return the program that is measured together with a batch, if any.

        Args:
            history: History of all committed batches.
            batch: Number of the batch.
            in_flight: Fingerprints being measured by batches in flight.
        """
        if batch % self.every:
            return None
        leading = history.leaders[:_LEADERS]
        measured = {*history.rescored, *in_flight}
        return next((c for c in leading if c.fingerprint not in measured), None)

    def jobs(self, leader: Candidate) -> list[Measure]:
        """Return the jobs that measure a leader, one per task."""
        return [
            Measure((leader.program,), task, tuple(seeds), "validation")
            for task, seeds in self.seeds.items()
        ]

    def event(
        self, batch: int, leader: Candidate, measured: Sequence[Sequence[Sequence[float]]]
    ) -> Event:
        """Return the event that is stored in the journal.

        Args:
            batch: Number of the batch.
            leader: The measured program.
            measured: The result of each job of :meth:`jobs`: losses ``[1][seeds]``.
        """
        means = [
            _mean_ratio(losses[0], self.baseline[task])
            for task, losses in zip(self.seeds, measured, strict=True)
        ]
        detail = {"fingerprint": leader.fingerprint, "fitness": sum(means) / len(means)}
        return Event(batch, "rescore", detail)


def _mean_ratio(losses: Sequence[float], baseline: Sequence[float]) -> float:
    ratios = [
        (math.log(loss) if loss > 0 else math.inf) - reference  # no loss is 0, nor is NaN
        for loss, reference in zip(losses, baseline, strict=True)
    ]
    return sum(ratios) / len(ratios)
