"""A trainer over any executor, for tests that invent losses."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from optforge.execution import Executor
from optforge.jobs import JobRunner, Store, Trainer
from optforge.runs import Journal


class _AnyTask(dict[str, Any]):
    """Every name is a task, known by its name alone."""

    def __missing__(self, name: str) -> Any:
        return SimpleNamespace(name=name, hash=name)


def trainer_on(
    executor: Executor,
    journal: Journal | None = None,
    seed: int = 0,
    tasks: Mapping[str, Any] | None = None,
) -> Trainer:
    """Train on an executor, with a store in memory."""
    known: Any = _AnyTask() if tasks is None else tasks
    return Trainer(JobRunner(executor, journal), known, seed, Store(None, compiled=False))
