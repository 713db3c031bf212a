"""The course of a search as a display needs it: rates, remaining time, points of the plot."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.runs import RunDirectory

_WINDOW = 10.0  # seconds over which the present rate is taken
_POINTS = 400
_SETTLED = 3.0  # seconds after which a rate is good enough to foretell the end


@dataclass(frozen=True)
class Counts:
    """Counts at one moment."""

    time: float
    proposed: int
    evaluated: int
    judged: int


@dataclass
class Track:
    """Follows a search from outside.

    Args:
        plan: Plan of the run.
        directory: Directory of the run.
        budget: Budget of this session.
        workers: Number of processes.
        clock: Returns the time in seconds.
    """

    plan: SearchPlan
    directory: RunDirectory
    budget: Budget
    workers: int
    clock: Callable[[], float] = time.monotonic
    samples: deque[Counts] = field(default_factory=deque)
    points: list[float] = field(default_factory=list)
    first: Counts | None = None
    _every: int = 1
    _seen: int = 0

    def note(self, history: History) -> bool:
        """Record a sample; return whether the search has made progress."""
        tally = history.tally
        now = Counts(self.clock(), tally.proposals, tally.evaluated, tally.judged)
        if self.first is None or now.proposed == self.first.proposed:
            self.first = self.first or now
            # The clock of the rates starts with the first batch, not with the workers.
            self.first = Counts(now.time, *list(vars(self.first).values())[1:])
            return False
        if not self.samples or now.proposed > self.samples[-1].proposed:
            self.samples.append(now)
        while len(self.samples) > 2 and self.samples[1].time < now.time - _WINDOW:
            self.samples.popleft()
        self._plot(history.phase_best)
        return True

    def rates(self, name: str) -> tuple[float, float]:
        """Return counts per second over the last seconds, and since the search began.

        Programs come in batches. The current rate is that of the last batches, however long one
        takes, and drops while the next is overdue.
        """
        if self.first is None or not self.samples:
            return 0.0, 0.0
        now, last = self.clock(), self.samples[-1]
        old = self.samples[0] if len(self.samples) > 1 else self.first
        present = max(last.time - old.time, now - last.time)
        return _rate(name, old, last, present), _rate(name, self.first, last, now - self.first.time)

    @property
    def elapsed(self) -> float:
        """Seconds since the search began."""
        return self.budget.elapsed

    def remaining(self, history: History) -> float | None:
        """Return the estimated seconds left; None if not known yet."""
        left = []
        if self.budget.minutes is not None:
            left.append(60 * self.budget.minutes - self.elapsed)
        if self.budget.programs is not None:
            rate = self.rates("proposed")[1]
            if rate > 0 and self.clock() - self.samples[0].time > _SETTLED:
                left.append((self.budget.programs - history.tally.proposals) / rate)
        return max(0.0, min(left)) if left else None

    def share(self, history: History) -> float:
        """Return the used share of the budget, 0 to 1."""
        shares = [0.0]
        if self.budget.minutes is not None:
            shares.append(self.elapsed / (60 * self.budget.minutes))
        if self.budget.programs is not None:
            shares.append(history.tally.proposals / self.budget.programs)
        return min(1.0, max(shares))

    def _plot(self, value: float) -> None:
        """Record the best at evenly spaced moments; every second point goes when there are many."""
        self._seen += 1
        if self._seen % self._every == 0:
            self.points.append(value)
        if len(self.points) > _POINTS:
            self.points = self.points[1::2]
            self._every *= 2


def _rate(name: str, old: Counts, now: Counts, seconds: float) -> float:
    return (getattr(now, name) - getattr(old, name)) / seconds if seconds > 0 else 0.0


def clock(seconds: float | None) -> str:
    """Return a duration as text.

    Example:
        >>> clock(75), clock(3700), clock(None)
        ('1:15', '1:01:40', '?')
    """
    if seconds is None or not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def fitness(value: float) -> str:
    """Return a fitness (a log ratio of losses) as text, with the change of the loss.

    Example:
        >>> fitness(-0.1)
        '-0.1000 (-9.5 % loss)'
    """
    if not math.isfinite(value):
        return "none yet"
    return f"{value:+.4f} ({100 * math.expm1(value):+.1f} % loss)"


def phase_words(history: History) -> str:
    """Return a description of the current phase, and which course it is after restarts."""
    words = {
        "start": "judging the warm start",
        "constants": "tuning constants",
        "structure": "evolving structure",
        "random": "random search",
    }.get(history.phase, history.phase)
    restarts = history.tally.restarts if history.settings.seed_sets > 1 else 0
    return f"{words}, course {restarts + 1}" if restarts else words
