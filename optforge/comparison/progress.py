"""How far a whole plan is, and how long it will still take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass
class Share:
    """The cells of one task: how many there are, and what they cost.

    Args:
        cells: Expected.
        estimate: Seconds of one cell, measured before or guessed.
        answered: Answered from the table or computed.
        computed: Computed in this session.
        seconds: They took.
    """

    cells: int
    estimate: float
    answered: int = 0
    computed: int = 0
    seconds: float = 0.0

    def left(self, pace: float) -> float:
        """Return the seconds of work that are left, by its own cells or by the pace of others."""
        each = self.seconds / self.computed if self.computed else pace * self.estimate
        return max(0, self.cells - self.answered) * each


@dataclass
class Progress:
    """The state of a plan.

    Args:
        shares: By task.
        workers: That compute at the same time.
        purpose: What is going on.

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
        """Cells answered."""
        return sum(share.answered for share in self.shares.values())

    @property
    def total(self) -> int:
        """Cells expected; it may shrink when a range need not grow."""
        return sum(max(share.cells, share.answered) for share in self.shares.values())

    @property
    def seconds_left(self) -> float:
        """Expected time to the end."""
        return self.left(_pace(self.shares.values()))

    def left(self, pace: float) -> float:
        """Return the expected seconds to the end if tasks without a run go at that pace."""
        work = sum(share.left(pace) for share in self.shares.values())
        return work / max(1, self.workers)

    def reused(self, task: str) -> None:
        """Note a cell that the table had."""
        self.task = task
        if task in self.shares:
            self.shares[task].answered += 1

    def finished(self, task: str, seconds: float) -> None:
        """Note a cell that was computed."""
        self.task = task
        share = self.shares.get(task)
        if share is None:
            return
        share.answered += 1
        if math.isfinite(seconds):
            share.computed += 1
            share.seconds += seconds

    def skip(self, task: str, cells: int) -> None:
        """Note cells that were expected and are not needed."""
        if task in self.shares:
            self.shares[task].cells -= cells


@dataclass
class Whole:
    """Several plans, one after another, as one; looks like the state of a plan.

    Args:
        parts: Of the comparisons, in their order.
        current: Place of the one that runs.

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
        """Cells answered."""
        return sum(part.done for part in self.parts)

    @property
    def total(self) -> int:
        """Cells expected."""
        return sum(part.total for part in self.parts)

    @property
    def seconds_left(self) -> float:
        """Expected time to the end; plans that have not begun go at the pace of the others."""
        pace = _pace([share for part in self.parts for share in part.shares.values()])
        return sum(part.left(pace) for part in self.parts)

    @property
    def task(self) -> str:
        """What is trained."""
        return self.parts[self.current].task

    @property
    def purpose(self) -> str:
        """What is going on."""
        return self.parts[self.current].purpose


def _pace(shares: Iterable[Share]) -> float:
    """Return the time that cells took over their estimate, over all tasks so far."""
    known = [share for share in shares if share.computed]
    expected = sum(share.computed * share.estimate for share in known)
    return sum(share.seconds for share in known) / expected if expected else 1.0
