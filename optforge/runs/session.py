"""When the present session of a search began, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Session:
    """A session of a search, as its journal keeps it for those who watch.

    Args:
        begun: Unix time at which its clock started, in seconds.
        proposals: Number of proposals of the run at that moment.
        minutes: Length of the session in minutes; None for no limit.
        programs: Number of proposals of the whole run at which it ends; None for no limit.
        ended: Unix time at which it no longer proposed programs, in seconds; None before.
    """

    begun: float
    proposals: int
    minutes: float | None
    programs: int | None
    ended: float | None = None

    def left(self, proposals: int, now: float) -> float | None:
        """Return the estimated seconds left; None without a limit, or before a rate is known.

        Args:
            proposals: Number of proposals of the run.
            now: Unix time in seconds.

        Example:
            >>> Session(1000.0, 1, minutes=2.0, programs=None).left(200, 1030.0)
            90.0
            >>> Session(1000.0, 1, minutes=2.0, programs=301).left(201, 1020.0)
            10.0
        """
        elapsed, limits = now - self.begun, []
        if self.minutes is not None:
            limits.append(60 * self.minutes - elapsed)
        if self.programs is not None and elapsed > 0 and proposals > self.proposals:
            rate = (proposals - self.proposals) / elapsed
            limits.append((self.programs - proposals) / rate)
        return max(0.0, min(limits)) if limits else None
