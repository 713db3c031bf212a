"""What shows a person the progress of a verb: one protocol, and the display that shows nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Display(Protocol):
    """What a display implements; both methods may be called many times.

    A display of a search has two methods more, see :class:`optforge.evolution.watcher.Watcher`.
    """

    def say(self, text: str) -> None:
        """Show one sentence on what is going on."""
        ...

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Show how far something is.

        Args:
            what: Is being done.
            done: Parts that are finished.
            total: Parts that there are.
            left: Seconds to the end, where they are known.
        """
        ...


class Silent:
    """A display that shows nothing, for every verb."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Show nothing."""

    def begin(self, *state: object) -> None:
        """Show nothing of what a search is made of."""

    def show(self, *state: object) -> None:
        """Show nothing of how far a search is."""


def named(display: Display) -> Callable[[str, int, int], None]:
    """Return what shows a runner's work on a display, but for work without a name.

    Jobs that are a part of something larger, such as a round of tuning, have no name; whoever runs
    them shows how far the whole is.

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
