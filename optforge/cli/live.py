"""The live view of a search in a terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.status import Status

from optforge.cli.change import Changing
from optforge.cli.console import screen
from optforge.cli.plain import starting
from optforge.cli.track import Track, clock, leader
from optforge.cli.view import frame
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.runs import RunDirectory

_FRAME = 0.5  # seconds; nothing is drawn more often


class LiveWatcher:
    """A spinner while things are prepared, the view while it searches, then progress bars.

    All drawing but the spinner happens in the calls of the search, so that no thread reads what
    the search is changing.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or screen()
        self.track: Track | None = None
        self.changing = Changing()
        self._drawn = -float("inf")
        self._status: Status | None = None
        self._live: Live | None = None
        self._bars: Progress | None = None
        self._bar: dict[str, TaskID] = {}

    def __enter__(self) -> LiveWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_status()
        self._end_live()
        self._end_bars()

    def say(self, text: str) -> None:
        """Show a sentence beside a spinner, and keep the one before it."""
        if self._live is not None or self._bars is not None:
            self.console.print(text, markup=False)
            return
        if self._status is None:
            self._status = Status("", console=self.console, refresh_per_second=4)
            self._status.start()
        self._status.update(f"{text} ...")

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        """Take what the search is made of."""
        self.track = Track(plan, directory, budget, workers)
        self._end_bars()  # those of the baselines: a terminal holds one live display
        self.say(starting(plan, workers))

    def show(self, history: History) -> None:
        """Draw the view, if something may have changed since the last frame."""
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

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Move the bar of a measurement."""
        self._end_status()
        self._end_live()
        now = time.monotonic()
        if self._bars is None:
            self._bars = _bars(self.console)
            self._bars.start()
        if what not in self._bar:
            for bar in self._bar.values():
                self._bars.stop_task(bar)
            self._bar[what] = self._bars.add_task(what, total=total, left="")
        elif done < total and now < self._drawn + _FRAME:
            return
        self._drawn = now
        words = "" if left is None or done == total else f"{clock(left)} left"
        self._bars.update(self._bar[what], completed=done, total=total, left=words)
        self._bars.refresh()

    def _end_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _end_bars(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._bar = None, {}

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
        TextColumn("{task.fields[left]}"),
        console=console,
        auto_refresh=False,
    )
