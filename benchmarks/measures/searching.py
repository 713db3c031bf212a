"""Figures 4 and 5: a real search from AdamW, watched from outside."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optforge.api.search import search
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.evolution.tally import stage_counts
from optforge.runs import RunDirectory

from .machine import resident_mb

_LOOK_AT_MEMORY = 2.0  # seconds

CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = {
    # Three seeds for survivors, none to confirm.
    "mlp_only": {"tasks": ["mnist_mlp"], "held_out": [], "confirm": 0},
    # The same with each mutation as the paper has it.
    "mlp_only_paper": {
        "tasks": ["mnist_mlp"],
        "held_out": [],
        "confirm": 0,
        "in_place": 0.0,
        "rescale": 0.0,
        "known_by": "fingerprint",
    },
    "default_suite": {},
}


@dataclass(frozen=True)
class Mark:
    """The counts after a committed batch."""

    at: float
    proposals: int
    evaluated: int
    judged: int
    cached: int
    training_seconds: float


@dataclass
class Recorder:
    """A watcher that notes when batches are committed and how large the workers grow.

    Args:
        seconds: How long the search goes on after its first batch, the warm start.
    """

    seconds: float
    called: float = field(default_factory=time.perf_counter)
    begun: float = 0.0
    marks: list[Mark] = field(default_factory=list)
    worker_mb: float = float("nan")
    looked: float = 0.0

    def say(self, text: str) -> None:
        del text

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        del plan, directory, budget, workers
        self.begun = time.perf_counter()

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        del what, done, total

    def show(self, history: History) -> None:
        now, tally = time.perf_counter(), history.tally
        if tally.proposals and (not self.marks or tally.proposals > self.marks[-1].proposals):
            self.marks.append(
                Mark(
                    now,
                    tally.proposals,
                    tally.evaluated,
                    tally.judged,
                    tally.cached,
                    tally.training_seconds,
                )
            )
        if now - self.looked > _LOOK_AT_MEMORY:
            self.looked = now
            self.look_at_memory()

    def look_at_memory(self) -> None:
        sizes = [
            resident_mb(child.pid, largest=True)
            for child in multiprocessing.active_children()
            if child.pid is not None and child.name == "optforge-worker"
        ]
        self.worker_mb = max([s for s in [*sizes, self.worker_mb] if s == s], default=float("nan"))

    def ended(self) -> bool:
        """Tell the search to stop, not before a batch has landed after the warm start's own."""
        return len(self.marks) > 1 and time.perf_counter() - self.marks[0].at >= self.seconds


def searching(name: str, seed: int, workers: int, seconds: float, compile: bool) -> dict[str, Any]:
    """Search for some time, without the measurements at the end, and give the rates.

    They are counted from the commit of the first batch, the warm start alone, to that of the
    last. At the first nothing is on its way; what is on its way at the last is not counted, so
    that no rate is too high, and the overhead a little if batches are few.
    """
    recorder = Recorder(seconds)
    with TemporaryDirectory() as directory:
        result = search(
            **CONFIGURATIONS[name],
            minutes=24 * 60.0,  # the recorder ends it
            out=Path(directory) / "run",
            seed=seed,
            constants_programs=0,
            workers=workers,
            compile=compile,
            watch=recorder,
            stop=recorder.ended,
        )
    return _figures(recorder, workers, result.history)


def _figures(recorder: Recorder, workers: int, history: History) -> dict[str, Any]:
    marks = recorder.marks
    rates = _rates(marks[0], marks[-1], workers)
    middle = marks[(len(marks) - 1) // 2]
    return {
        **rates,
        "second_half": _rates(middle, marks[-1], workers),
        "worker_mb": recorder.worker_mb,
        "prepare_seconds": recorder.begun - recorder.called,
        "startup_seconds": recorder.marks[0].at - recorder.begun,
        "batches": len(marks) - 1,
        "stages": stage_counts(history.tally.stages),
        "best": min((c.fitness for c in history.best), default=None),
    }


def _rates(first: Mark, last: Mark, workers: int) -> dict[str, float]:
    """Rates between two commits; re-scoring is not in the verdicts and counts as overhead."""
    elapsed = last.at - first.at
    proposals = last.proposals - first.proposals
    training = last.training_seconds - first.training_seconds
    return {
        "evaluated_per_second": (last.evaluated - first.evaluated) / elapsed,
        "judged_per_second": proposals / elapsed,
        "full_verdicts_per_second": (last.judged - first.judged) / elapsed,
        "cache_share": (last.cached - first.cached) / proposals,
        "overhead_share": 1 - training / (workers * elapsed),
        "elapsed_seconds": elapsed,
    }
