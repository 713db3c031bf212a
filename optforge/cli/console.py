"""The two consoles: results go to the standard output, only errors to the standard error."""

from __future__ import annotations

import io
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optforge.execution.lasting import LastingOutput
from optforge.report.text_table import TextTable

_WIDE = 110  # where there is no terminal, so that tables are not squeezed


def screen() -> Console:
    """Return the console of results.

    It is created anew each time, because the standard output may have changed.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(highlight=False, width=width)


def print_anything() -> None:
    """Make both outputs take any text, so that no display makes a run fail.

    Characters that an encoding lacks are replaced. What goes to an output that was closed before
    the start, as by ``>&-``, goes nowhere; so does what nobody reads any more, as after ``| head``.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # its file is gone; what is written later is told then
                stream.reconfigure(errors="replace")
            setattr(sys, name, LastingOutput(stream, BrokenPipeError))


def forgive(stream: IO[str] | LastingOutput) -> None:
    """Forget that an output was lost: what it had to tell was not what was asked for."""
    if isinstance(stream, LastingOutput) and stream.is_lost:
        silence(stream)
        stream.is_lost = False


def silence(stream: IO[str] | LastingOutput) -> None:
    """Discard an output from now on: its terminal or pipe is gone, or its disk is full."""
    with suppress(OSError, ValueError):  # a stream that is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def flush_outputs() -> bool:
    """Write what is left; return whether both outputs took it."""
    whole = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            is_lost = True
        else:
            is_lost = getattr(stream, "is_lost", False)
        if is_lost:  # it would fail once more, and with a code of its own, at the very end
            silence(stream)
            whole = False
    return whole


def is_drawable(console: Console) -> bool:
    """Return whether a console is a terminal that supports live drawing."""
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


def print_page_command(path: Path | str, console: Console) -> None:
    """Print the command that writes the page of the result in a directory, or of a rule."""
    named = f"./{path}" if str(path).startswith("-") else str(path)  # else it reads as an option
    command = shlex.join(["optforge", "report", named])
    console.print(f"As a page: {command}", style="dim", markup=False, soft_wrap=True)


def fail(text: str) -> None:
    """Print a plain sentence to the standard error, on one line."""
    sentence = " ".join(text.split())
    with suppress(OSError):  # the exit code tells it all the same
        try:
            console = Console(stderr=True, highlight=False)
            console.print("error:", style="bold red", end=" ")
            console.print(sentence, markup=False, soft_wrap=True)
        except (ImportError, MemoryError):  # none is left for what this loads
            sys.stderr.write(f"\rerror: {sentence}\n")


def print_table(console: Console, table: TextTable) -> None:
    """Print a table; tasks of a comparison become headings, to leave room for the numbers."""
    console.print(Text(table.title, "italic"))
    grouped = table.heads[0] == "task" and len(table.heads) > 2
    first = 1 if grouped else 0
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for head, left in list(zip(table.heads, table.left, strict=True))[first:]:
        shown.add_column(head, justify="left" if left else "right", overflow="fold")
    task = None
    for row in table.rows:
        if grouped and row[0] != task:
            task = row[0]
            shown.add_row(Text(task, "bold"))
        shown.add_row(*map(_cell, row[first:]))
    console.print(shown)


def _cell(text: str) -> Text:
    """Return a cell; what Markdown prints in bold is in bold."""
    return Text(text.strip("*"), "bold" if text.startswith("**") else "")
