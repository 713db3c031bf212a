"""The display of every verb: live in a terminal, plain lines elsewhere, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import typer
from rich.console import Console

from optforge.cli.console import is_drawable, screen
from optforge.cli.live import LiveDisplay
from optforge.cli.plain import PlainDisplay
from optforge.cli.stopping import Stopping
from optforge.errors import StoppedError
from optforge.jobs import Silent

STOPPED = 130  # exit code


def make_display(
    *, quiet: bool = False, beside: bool = False
) -> AbstractContextManager[LiveDisplay | PlainDisplay | Silent]:
    """Return a display that fits the stream it writes to.

    Args:
        quiet: Whether to print nothing to a stream that is not a terminal, as with JSON output.
        beside: Whether to write to the standard error, because the result goes to the standard
            output.
    """
    console = Console(stderr=True, highlight=False) if beside or quiet else screen()
    if is_drawable(console):
        return LiveDisplay(console)
    return nullcontext(Silent()) if quiet else PlainDisplay(console.stderr)


@contextmanager
def stoppable(text: str, quiet: bool, armed: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the keywords ``watch`` and ``stop`` of a verb; print a sentence if it is stopped.

    Args:
        text: The sentence.
        quiet: Whether the result is printed as JSON.
        armed: Whether the first Ctrl-C requests a stop instead of ending the process at once.
    """
    try:
        with Stopping() as stopping, make_display(quiet=quiet, beside=True) as display:
            stopping.armed = armed
            yield {"watch": display, "stop": stopping}
    except (StoppedError, KeyboardInterrupt):
        say_stopped(text, beside=True)


def say_stopped(text: str, beside: bool = False) -> None:
    """Print how to continue, and exit."""
    console = Console(stderr=True, highlight=False) if beside else screen()
    console.print(text, markup=False, soft_wrap=True)
    raise typer.Exit(STOPPED)
