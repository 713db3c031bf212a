"""The course of a search in TensorBoard or Weights & Biases, each by its own library."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from optforge.errors import SearchError
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.leaders import leader, rescored, validated
from optforge.evolution.plan import SearchPlan
from optforge.evolution.watcher import Watcher
from optforge.runs import RunDirectory

LOGS = ("tensorboard", "wandb")


class RunLog(Protocol):
    """Takes the values of a search as it goes on."""

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write named values; the step is the number of programs."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def check_log(name: str | None) -> None:
    """Check that a log can be written.

    Raises:
        SearchError: If there is no log of this name, or its package is not installed.
    """
    if name is None:
        return
    if name not in LOGS:
        raise SearchError(f"log is {name!r}; use one of {', '.join(LOGS)}")
    if find_spec(name) is None:
        raise SearchError(
            f"log is {name!r}, which is not installed; install it with pip install 'optforge[log]'"
        )


@contextmanager
def logged(name: str | None, directory: RunDirectory, watch: Watcher) -> Iterator[Watcher]:
    """Give a display that logs as well, and close the log at the end.

    Args:
        name: Name of the log; None for none.
        directory: Directory of the run, in which the log keeps its files.
        watch: The display.
    """
    if name is None:
        yield watch
        return
    log = _TensorBoard(directory) if name == "tensorboard" else _WeightsAndBiases(directory)
    try:
        yield _Logged(watch, log)
    finally:
        log.close()


def values_of(history: History) -> dict[str, float]:
    """Return what is logged of a search: counts, and the best values so far.

    Args:
        history: History of the search.
    """
    tally, best, fresh = history.tally, leader(history), rescored(history)
    values = {
        "programs/new": tally.evaluated,
        "programs/judged in full": tally.judged,
        "programs/known already": tally.cached / max(1, tally.proposals),
        "best/in the search": math.nan if best is None else best.fitness,
        "best/on fresh seeds": math.nan if fresh is None else fresh[0],
    }
    larger = validated(history)
    values |= {} if larger is None else {"best/on larger tasks": larger}
    return {key: float(value) for key, value in values.items() if math.isfinite(value)}


class _Logged:
    """A display that writes the state of the search into a log after every batch."""

    def __init__(self, watch: Watcher, log: RunLog) -> None:
        self.say, self.progress, self._watch, self._log = watch.say, watch.progress, watch, log
        self._step = -1

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int, /
    ) -> None:
        self._watch.begin(plan, directory, budget, workers)

    def show(self, history: History, /) -> None:
        self._watch.show(history)
        if history.tally.proposals > self._step:
            self._step = history.tally.proposals
            self._log.write(values_of(history), self._step)


class _TensorBoard:
    def __init__(self, directory: RunDirectory) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(directory.path / "tensorboard"))

    def write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, directory: RunDirectory) -> None:
        import wandb

        journal, path = directory.journal, directory.path.resolve()
        # Resumed, a run goes on where it was; another one of the same name is another one.
        number = hashlib.sha256(f"{path.name} {journal.created}".encode()).hexdigest()[:16]
        config: dict[str, Any] = dict(journal.settings.get("search", {}))
        project, quiet = os.environ.get("WANDB_PROJECT", "optforge"), wandb.Settings(quiet=True)
        self._run = wandb.init(
            project=project, name=path.name, id=number, resume="allow", dir=str(path),
            config=config, settings=quiet,
        )  # fmt: skip

    def write(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
