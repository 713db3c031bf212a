"""The live display in a terminal."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.text import Text

from optforge.cli.change import Changing
from optforge.cli.console import screen, silence
from optforge.cli.plain import starting
from optforge.cli.track import Track
from optforge.cli.view import frame
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.leaders import leader
from optforge.evolution.plan import SearchPlan
from optforge.report.words import duration
from optforge.runs import RunDirectory

_FRAME = 0.5  # seconds; nothing is drawn more often


Arguments = ParamSpec("Arguments")


def _undisturbed(
    draw: Callable[Concatenate[LiveDisplay, Arguments], None],
) -> Callable[Concatenate[LiveDisplay, Arguments], None]:
    """Return a method that ends all drawing, and not the run, once the terminal is gone."""

    @functools.wraps(draw)
    def call(display: LiveDisplay, *args: Arguments.args, **more: Arguments.kwargs) -> None:
        if display.is_gone:
            return
        try:
            draw(display, *args, **more)
        except OSError:
            display.is_gone = True
            silence(display.console.file)

    return call


class LiveDisplay:
    """A spinner during preparations, the view of a search, then a bar.

    All drawing except the spinner happens in the calls of the verb, so that no thread reads data
    that the verb is changing.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or screen()
        self.track: Track | None = None
        self.changing = Changing()
        self._drawn = -math.inf
        self._status: Status | None = None
        self._said = ""
        self._live: Live | None = None
        self._bar: Progress | None = None
        self.is_gone = False  # the terminal

    def __enter__(self) -> LiveDisplay:
        return self

    @_undisturbed
    def __exit__(self, *_: object) -> None:
        self._end_status()
        self._end_live()
        self._end_bar()

    @_undisturbed
    def say(self, text: str) -> None:
        """Show a sentence next to a spinner until the next one; then it stays above."""
        if self._live is not None or self._bar is not None:
            self.console.print(Text(text, "dim"), soft_wrap=True)
            return
        self._end_status()
        self._said = text
        self._status = Status(f"{escape(text)} ...", console=self.console, refresh_per_second=4)
        self._status.start()

    @_undisturbed
    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Move the bar, which starts anew with each measurement."""
        self._end_status()
        self._end_live()
        now = time.monotonic()
        if self._bar is None:
            self._bar = _bar(self.console)
            self._bar.start()
        (task,) = self._bar.tasks or [None]
        if task is not None and (task.total != total or done < task.completed):
            self._bar.remove_task(task.id)
            task = None
        elif task is not None and done < total and now < self._drawn + _FRAME:
            return
        self._drawn = now
        number = task.id if task is not None else self._bar.add_task(what, total=total, left="")
        rest = "" if left is None or done == total else f"{duration(left)} left"
        self._bar.update(number, description=escape(what), completed=done, left=rest)
        self._bar.refresh()

    @_undisturbed
    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        """Receive the plan of the search."""
        self.track = Track(plan, directory, budget, workers)
        self._end_bar()  # that of the baselines: a terminal holds one live display
        self.say(starting(plan, workers))

    @_undisturbed
    def show(self, history: History) -> None:
        """Draw the view if something may have changed since the last frame."""
        now = time.monotonic()
        if self.track is None or now < self._drawn + _FRAME:
            return
        self._drawn = now
        if not self.track.note(history):
            return
        self._end_status()
        best = leader(history)
        if best is not None:
            self.changing.take(best.text)
        width, height = self.console.size
        view = frame(self.track, history, self.changing, width, height)
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(view, refresh=True)

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
            self.console.print(Text(self._said, "dim"), soft_wrap=True)

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        auto_refresh=False,
        transient=True,
    )
