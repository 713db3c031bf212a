"""The two consoles: results go to the standard output, only errors to the standard error."""

from __future__ import annotations

import io
import os
import sys

from rich.console import Console

_WIDE = 110  # where there is no terminal, so that tables are not squeezed


def screen() -> Console:
    """Return the console of results.

    It is created anew each time, because the standard output may have changed.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(highlight=False, width=width)


def print_anything() -> None:
    """Replace characters that an output's encoding lacks, so that no display makes a run fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def is_drawable(console: Console) -> bool:
    """Return whether a console is a terminal that supports live drawing."""
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


def fail(text: str) -> None:
    """Print a plain sentence to the standard error, on one line."""
    sentence = " ".join(text.split())
    console = Console(stderr=True, highlight=False)
    console.print("error:", style="bold red", end=" ")
    console.print(sentence, markup=False, soft_wrap=True)
