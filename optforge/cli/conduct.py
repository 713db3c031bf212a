"""Running a search for a person: display, signals, and what is said at the end."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from optforge.api.search import SearchResult
from optforge.cli.console import is_live, screen
from optforge.cli.live import LiveWatcher
from optforge.cli.plain import PlainWatcher
from optforge.cli.result import print_result
from optforge.cli.stopping import Stopping
from optforge.errors import StoppedError
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.report.search.page import count_lines
from optforge.runs import RunDirectory

STOPPED = 130
_LEAST = 0.5  # minutes that are worth resuming for


class Session:
    """A watcher that hands on to a display and notes what it takes to resume.

    Args:
        display: Shows what happens.
        stopping: Armed as soon as there is a run that can be resumed.
        own: Tasks that have to be given again on resuming.
    """

    def __init__(
        self, display: LiveWatcher | PlainWatcher, stopping: Stopping, own: list[str]
    ) -> None:
        self.display, self.stopping, self.own = display, stopping, own
        self.directory: Path | None = None
        self.budget: Budget | None = None

    def say(self, text: str) -> None:
        """Hand on."""
        self.display.say(text)

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        """Note the run and hand on."""
        self.directory, self.budget = directory.path, budget
        self.stopping.armed = True
        self.display.begin(plan, directory, budget, workers)

    def show(self, history: History) -> None:
        """Hand on."""
        self.display.show(history)

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Hand on."""
        self.display.progress(what, done, total, left)

    @property
    def resuming(self) -> str:
        """The command that goes on with this run."""
        words = ["optforge", "search", "--resume", str(self.directory)]
        if self.own:
            words += ["--tasks", ",".join(self.own)]
        if self.budget is not None and self.budget.programs is not None:
            words += ["--programs", str(self.budget.programs)]
        if self.budget is not None and self.budget.minutes is not None:
            left = max(_LEAST, self.budget.minutes - self.budget.elapsed / 60)
            rounded = math.ceil(10 * left) / 10 if math.isfinite(left) else left
            words += ["--minutes", f"{rounded:g}"]
        return shlex.join(words)


def conduct(verb: Callable[..., SearchResult], arguments: dict[str, Any], own: list[str]) -> None:
    """Run a search under a display, with signals in hand, and print its end.

    Args:
        verb: ``optforge.search`` or ``optforge.resume``.
        arguments: For it.
        own: Tasks from files, as given.
    """
    console = screen()
    with Stopping() as stopping:
        display = LiveWatcher(console) if is_live() else PlainWatcher()
        session = Session(display, stopping, own)
        try:
            with display:
                result = verb(**arguments, watcher=session, stop=stopping)
        except (KeyboardInterrupt, StoppedError):
            _say_stopped(console, session)
            raise typer.Exit(STOPPED) from None
        if result.stopped:
            console.print(count_lines(result.history.tally.plain())[0], style="dim")
            _say_stopped(console, session)
            raise typer.Exit(STOPPED)
        print_result(result, console)


def _say_stopped(console: Console, session: Session) -> None:
    if session.directory is None:
        text = (
            "Stopped before the search began; what was trained for the baselines is kept, and the "
            "same command goes on from there"
        )
    else:
        text = f"Stopped; nothing is lost. Go on with: {session.resuming}"
    console.print(text, markup=False, soft_wrap=True)
