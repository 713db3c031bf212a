"""Searches on the command line: display, signals, and the final output."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optforge.api.search_cost import search_cost
from optforge.api.search_options import SearchOptions
from optforge.api.search_result import SearchResult
from optforge.cli.console import print_page_command, print_table, screen
from optforge.cli.display import make_display, say_stopped
from optforge.cli.result import print_result
from optforge.cli.stopping import Stopping
from optforge.errors import StoppedError
from optforge.evolution.budget import Budget
from optforge.evolution.plan import SearchPlan
from optforge.evolution.watcher import Watcher
from optforge.report.search.cost import cost_sentences, cost_table
from optforge.report.search.page import count_lines
from optforge.runs import RunDirectory

_LEAST = 0.5  # minutes that are worth resuming for


class Session:
    """A display that forwards to another one and records how to resume.

    Args:
        display: The display to forward to.
        stopping: The signal handler; armed as soon as there is a run that can be resumed.
        own_tasks: Names of the user's own tasks, which must be given again on resuming.
    """

    def __init__(self, display: Watcher, stopping: Stopping, own_tasks: list[str]) -> None:
        self._display, self._stopping, self._own_tasks = display, stopping, own_tasks
        self.say, self.progress, self.show = display.say, display.progress, display.show
        self.directory: Path | None = None
        self.budget: Budget | None = None

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        """Record the run and forward it."""
        self.directory, self.budget = directory.path, budget
        self._stopping.armed = True
        self._display.begin(plan, directory, budget, workers)

    @property
    def resuming(self) -> str:
        """The command that resumes this run."""
        words = ["optforge", "search", "--resume", str(self.directory)]
        if self._own_tasks:
            words += ["--tasks", ",".join(self._own_tasks)]
        if self.budget is not None and self.budget.programs is not None:
            words += ["--programs", str(self.budget.programs)]
        if self.budget is not None and self.budget.minutes is not None:
            left = max(_LEAST, self.budget.minutes - self.budget.elapsed / 60)
            rounded = math.ceil(10 * left) / 10 if math.isfinite(left) else left
            words += ["--minutes", f"{rounded:g}"]
        return shlex.join(words)


def conduct(
    verb: Callable[..., SearchResult], arguments: dict[str, Any], own_tasks: list[str]
) -> None:
    """Run a search with a display and signal handling, and print its result.

    Args:
        verb: ``optforge.search`` or ``optforge.resume``.
        arguments: Keyword arguments of the verb.
        own_tasks: Tasks from files, as the user named them.
    """
    with Stopping() as stopping, make_display() as display:
        session = Session(display, stopping, own_tasks)
        try:
            result = verb(**arguments, watch=session, stop=stopping)
        except (KeyboardInterrupt, StoppedError):
            result = None
    if result is not None and not result.stopped:
        print_result(result, screen())
        return
    if result is not None:
        screen().print(count_lines(result.history.tally.plain())[0], style="dim")
    if session.directory is not None:
        print_page_command(session.directory, screen())
    say_stopped(_stopped(session))


def _stopped(session: Session) -> str:
    if session.directory is None:
        return (
            "Stopped before the search began; what was trained for the baselines is kept, and the "
            "same command continues from there"
        )
    return f"Stopped; nothing is lost. Resume with: {session.resuming}"


def show_cost(arguments: dict[str, Any]) -> None:
    """Print what a search would cost.

    Args:
        arguments: Keyword arguments of ``optforge.search``.
    """
    with Stopping(), make_display() as display:
        cost = search_cost(SearchOptions(**arguments, watch=display))
    console = screen()
    print_table(console, cost_table(cost))
    for line in cost_sentences(cost):
        console.print(line)
