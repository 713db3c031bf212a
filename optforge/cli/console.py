"""The two consoles: results go to the standard output, errors and nothing else to the other."""

from __future__ import annotations

import io
import os
import sys

from rich.console import Console

_WIDE = 110  # where there is no terminal, so that tables are not squeezed


def screen() -> Console:
    """Return the console of results.

    Made anew each time, for the stream of this very moment.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(highlight=False, width=width)


def print_anything() -> None:
    """Let signs that an output's encoding lacks be replaced: no display ever fails a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def is_drawable(console: Console) -> bool:
    """Return whether a console is a terminal that can be drawn on."""
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


def fail(text: str) -> None:
    """Print one plain sentence on the standard error, in one line."""
    sentence = " ".join(text.split())
    console = Console(stderr=True, highlight=False)
    console.print("error:", style="bold red", end=" ")
    console.print(sentence, markup=False, soft_wrap=True)
