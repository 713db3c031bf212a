"""The interface of displays of progress, and a display that shows nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Display(Protocol):
    """The interface of a display; both methods may be called many times.

    A display of a search has two more methods, see :class:`optforge.evolution.watcher.Watcher`.
    """

    def say(self, text: str) -> None:
        """Show a sentence on what is going on."""
        ...

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Show the progress of some work.

        Args:
            what: Description of the work.
            done: Number of finished parts.
            total: Number of all parts.
            left: Seconds to the end, if known.
        """
        ...


class Silent:
    """A display that shows nothing, for every verb."""

    def say(self, text: str) -> None:
        """Ignore a sentence."""

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Ignore progress."""

    def begin(self, *state: object) -> None:
        """Ignore the plan of a search."""

    def show(self, *state: object) -> None:
        """Ignore the state of a search."""


def named(display: Display) -> Callable[[str, int, int], None]:
    """Return a function that shows a runner's work on a display, except work without a name.

    Jobs that are part of something larger, such as a round of tuning, have no name; their caller
    shows the progress of the whole.

    Example:
        >>> class Printing(Silent):
        ...     def progress(self, what, done, total, left=None):
        ...         print(what, done, total)
        >>> show = named(Printing())
        >>> show("", 1, 2), show("Measuring", 1, 2)
        Measuring 1 2
        (None, None)
    """

    def show(what: str, done: int, total: int) -> None:
        if what:
            display.progress(what, done, total)

    return show
