"""What a display of a search implements."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.jobs import Display
from optforge.runs import RunDirectory


@runtime_checkable
class Watcher(Display, Protocol):
    """A display that also shows the course of a search."""

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int, /
    ) -> None:
        """Take what the search is made of, before it starts."""
        ...

    def show(self, history: History, /) -> None:
        """Take the state of the search, after every batch and now and then between."""
        ...
