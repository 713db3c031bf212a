"""When a search ends."""

from __future__ import annotations

import time
from dataclasses import dataclass

from optforge.evolution.history import History


@dataclass
class Budget:
    """Ends a search after a number of minutes or programs.

    The clock starts when the first batch, which holds the warm start alone, has been committed. So
    the time to start workers and to compile, spent once per machine, does not count.

    Args:
        minutes: Length of this session in minutes; None for no limit.
        programs: Number of proposals of the whole run; None for no limit.
    """

    minutes: float | None
    programs: int | None
    began: float = 0.0

    def __call__(self, history: History, replaying: bool = False) -> bool:
        """Return whether the search ends now; replaying a journal does not use up its time."""
        if not self.began and history.tally.proposals and not replaying:
            self.began = time.monotonic()
        if self.programs is not None and history.tally.proposals >= self.programs:
            return True
        return self.minutes is not None and self.elapsed >= 60 * self.minutes

    @property
    def elapsed(self) -> float:
        """Seconds since the first batch landed; 0 before."""
        return time.monotonic() - self.began if self.began else 0.0
