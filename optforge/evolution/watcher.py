"""What a display of a search implements."""

from __future__ import annotations

from typing import Protocol

from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.runs import RunDirectory


class Watcher(Protocol):
    """What a display implements; every method may be called many times."""

    def say(self, text: str) -> None:
        """Take one sentence on what is going on."""
        ...

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        """Take what the search is made of, before it starts."""
        ...

    def show(self, history: History) -> None:
        """Take the state of the search, after every batch and now and then between."""
        ...

    def progress(self, what: str, done: int, total: int) -> None:
        """Take the progress of the measurements at the end."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        """Show nothing."""

    def show(self, history: History) -> None:
        """Show nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Show nothing."""
