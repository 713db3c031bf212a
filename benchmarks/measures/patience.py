"""Minutes from `optforge search` to a rule that beats tuned AdamW on fresh seeds."""

from __future__ import annotations

import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optforge.api.search import search
from optforge.evolution.history import History
from optforge.jobs import Silent

GAIN = 0.07  # share of the loss of tuned AdamW


class Patience(Silent):
    """Ends a search when a leader that was measured again is that much better, or after a time.

    Args:
        limit: Minutes from the start of the workers on.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.programs = limit, 0
        self.called, self.begun, self.reached = time.perf_counter(), math.nan, math.inf

    def begin(self, *state: object) -> None:
        del state
        self.begun = time.perf_counter()

    def show(self, *state: object) -> None:
        (history,) = state
        assert isinstance(history, History)
        best = min(history.rescored.values(), default=math.inf)
        if math.isinf(self.reached):
            self.programs = history.tally.proposals
            if best <= math.log(1 - GAIN):
                self.reached = time.perf_counter()

    def ended(self) -> bool:
        late = time.perf_counter() - self.begun > 60 * self.limit
        return late or math.isfinite(self.reached)

    def figures(self) -> dict[str, float]:
        """Return minutes, infinite if it was not reached, and programs."""
        return {
            "since_command": (self.reached - self.called) / 60,
            "since_workers_started": (self.reached - self.begun) / 60,
            "programs": self.programs,
        }


def patience(seed: int, workers: int, limit: float, compile: bool) -> dict[str, Any]:
    """Search as `make search` does, with another end."""
    watch = Patience(limit)
    with TemporaryDirectory() as directory:
        search(
            minutes=24 * 60.0,  # the watcher ends it
            out=Path(directory) / "run",
            seed=seed,
            population=200,
            tournament=6,
            workers=workers,
            compile=compile,
            watch=watch,
            stop=watch.ended,
        )
    return {"seed": seed, **watch.figures()}
