"""Progress of a whole plan, and the time that it still needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass
class Share:
    """The cells of one task: their number and their cost.

    Args:
        cells: Expected number of cells.
        estimate: Seconds of one cell, measured beforehand or guessed.
        answered: Number of cells answered from the table or computed.
        reused: Number of those that were answered from the table.
        stored: Number of cells of its optimizers in the table when the session began.
        computed: Number of cells computed in this session.
        seconds: Seconds that the computed cells took.
    """

    cells: int
    estimate: float
    answered: int = 0
    reused: int = 0
    stored: int = 0
    computed: int = 0
    seconds: float = 0.0

    def left(self, pace: float) -> float:
        """Return the remaining seconds of work, by its own cells or by the pace of other tasks.

        Example:
            >>> Share(10, 2.0, answered=3, reused=3, stored=7).left(1.0)
            6.0
        """
        each = self.seconds / self.computed if self.computed else pace * self.estimate
        still_stored = max(0, self.stored - self.reused)  # they cost nothing when their turn comes
        return max(0, self.cells - self.answered - still_stored) * each


@dataclass
class Progress:
    """The progress of a plan.

    Args:
        shares: Share of each task.
        workers: Number of workers that compute at the same time.
        purpose: Description of the current work.

    Example:
        >>> progress = Progress({"a": Share(4, 2.0)}, workers=2)
        >>> progress.seconds_left
        4.0
        >>> progress.finished("a", 6.0)
        >>> progress.done, progress.seconds_left
        (1, 9.0)
    """

    shares: Mapping[str, Share]
    workers: int
    purpose: str = ""
    task: str = ""

    @property
    def done(self) -> int:
        """Number of answered cells."""
        return sum(share.answered for share in self.shares.values())

    @property
    def total(self) -> int:
        """Number of expected cells; it may shrink when a range need not grow."""
        return sum(max(share.cells, share.answered) for share in self.shares.values())

    @property
    def seconds_left(self) -> float:
        """Expected seconds to the end."""
        return self.left(_pace(self.shares.values()))

    def left(self, pace: float) -> float:
        """Return the expected seconds to the end if tasks without runs go at the given pace."""
        work = sum(share.left(pace) for share in self.shares.values())
        return work / max(1, self.workers)

    def reused(self, task: str) -> None:
        """Record a cell that was already in the table."""
        self.task = task
        if task in self.shares:
            self.shares[task].answered += 1
            self.shares[task].reused += 1

    def finished(self, task: str, seconds: float) -> None:
        """Record a cell that was computed."""
        self.task = task
        share = self.shares.get(task)
        if share is None:
            return
        share.answered += 1
        if math.isfinite(seconds):
            share.computed += 1
            share.seconds += seconds

    def skip(self, task: str, cells: int) -> None:
        """Record expected cells that turned out not to be needed."""
        if task in self.shares:
            self.shares[task].cells -= cells


@dataclass
class Whole:
    """Progress of several consecutive plans, with the interface of a single plan's progress.

    Args:
        parts: Progress of each comparison, in order.
        current: Index of the running comparison.

    Example:
        >>> whole = Whole([Progress({"a": Share(4, 2.0)}, 2), Progress({"a": Share(2, 1.0)}, 2)])
        >>> whole.total, whole.seconds_left
        (6, 5.0)
        >>> whole.parts[0].finished("a", 4.0)  # twice as long as was thought
        >>> whole.done, whole.seconds_left
        (1, 8.0)
    """

    parts: Sequence[Progress]
    current: int = 0

    @property
    def done(self) -> int:
        """Number of answered cells."""
        return sum(part.done for part in self.parts)

    @property
    def total(self) -> int:
        """Number of expected cells."""
        return sum(part.total for part in self.parts)

    @property
    def seconds_left(self) -> float:
        """Expected seconds to the end; plans that have not begun go at the pace of the others."""
        pace = _pace([share for part in self.parts for share in part.shares.values()])
        return sum(part.left(pace) for part in self.parts)

    @property
    def task(self) -> str:
        """The task being trained."""
        return self.parts[self.current].task

    @property
    def purpose(self) -> str:
        """Description of the current work."""
        return self.parts[self.current].purpose


def _pace(shares: Iterable[Share]) -> float:
    """Return the ratio of the cells' actual time to their estimate, over all tasks so far."""
    known = [share for share in shares if share.computed]
    expected = sum(share.computed * share.estimate for share in known)
    return sum(share.seconds for share in known) / expected if expected else 1.0
