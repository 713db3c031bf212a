"""The progress of a simplification: a bar on a terminal, plain lines elsewhere.

It goes to the standard error, so that ``--json`` can be piped.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

_EVERY = 10.0  # seconds between two plain lines
_FRAME = 0.2


class TrialsDisplay:
    """Shows sentences and one bar at a time; a context manager.

    Args:
        console: Where it goes; the standard error by default.
        terminal_only: Whether to say nothing where there is no terminal.
    """

    def __init__(self, console: Console | None = None, terminal_only: bool = False) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._silent = terminal_only and not self._live
        self._progress: Progress | None = None
        self._what, self._shown = "", -float("inf")

    def __enter__(self) -> TrialsDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def say(self, text: str) -> None:
        """Print a sentence above the bar."""
        if self._silent:
            return
        console = self._progress.console if self._progress is not None else self.console
        console.print(Text(text, "dim"), soft_wrap=True)

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Move the bar, which begins anew with each thing that is measured."""
        if self._silent:
            return
        now = time.monotonic()
        new = what != self._what
        if not new and done < total and now < self._shown + (_FRAME if self._live else _EVERY):
            return
        if not self._live and not new and now < self._shown + _EVERY:
            return
        self._what, self._shown = what, now
        if not self._live:
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
                auto_refresh=False,
            )
            self._progress.start()
        for task in self._progress.task_ids if new else ():
            self._progress.remove_task(task)
        if not self._progress.task_ids:
            self._progress.add_task(what, total=total)
        (task,) = self._progress.task_ids
        self._progress.update(task, completed=done, total=total)
        self._progress.refresh()
