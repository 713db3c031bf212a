"""The interface of a display of a search."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.jobs import Display
from optforge.runs import RunDirectory


@runtime_checkable
class Watcher(Display, Protocol):
    """A display that also shows the progress of a search."""

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int, /
    ) -> None:
        """Receive the plan of the search before it starts."""
        ...

    def show(self, history: History, /) -> None:
        """Receive the state of the search after every batch and now and then in between."""
        ...
