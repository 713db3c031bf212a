"""The course of a search in TensorBoard or Weights & Biases, each by its own library."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from optforge.errors import SearchError, one_line
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.leaders import leader, rescored, validated
from optforge.evolution.plan import SearchPlan
from optforge.evolution.watcher import Watcher
from optforge.files import is_file
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
        SearchError: If there is no log of this name, its package is not installed, or it is that of
            a service to which nobody is logged in.
    """
    if name is None:
        return
    if name not in LOGS:
        raise SearchError(f"log is {name!r}; use one of {', '.join(LOGS)}")
    if find_spec(name) is None:
        raise SearchError(
            f"log is {name!r}, which is not installed; install it with pip install 'optforge[log]'"
        )
    if name == "wandb" and not _has_credentials():
        raise SearchError(
            "log is 'wandb', which is not logged in; run 'wandb login', set WANDB_API_KEY, or keep "
            "the log on this disk by WANDB_MODE=offline"
        )


def _has_credentials() -> bool:
    """Return whether Weights & Biases may find a key; else it would ask for one in mid-work."""
    names = {"WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"}
    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online" or names & os.environ.keys() or "wandb" in sys.modules:
        return True  # the last: the caller uses it as well
    home = os.path.expanduser("~")
    config = os.environ.get("WANDB_CONFIG_DIR", os.path.join(home, ".config", "wandb"))
    netrc = os.environ.get("NETRC", os.path.join(home, ".netrc"))
    settings = (os.path.join(config, "settings"), os.path.join("wandb", "settings"))
    return any(map(is_file, (netrc, os.path.join(home, "_netrc"), *settings)))


@contextmanager
def logged(name: str | None, directory: RunDirectory, watch: Watcher) -> Iterator[Watcher]:
    """Yield a display that logs as well, and close the log at the end.

    Args:
        name: Name of the log; None for none.
        directory: Directory of the run, in which the log keeps its files.
        watch: The display.

    Raises:
        SearchError: If the log cannot be opened; once it is, it can end no search.
    """
    if name is None:
        yield watch
        return
    try:
        log = _TensorBoard(directory) if name == "tensorboard" else _WeightsAndBiases(directory)
    except Exception as error:
        raise SearchError(
            f"the log in {name} was not opened ({one_line(error)}); the run is kept: resume "
            f"{directory.path} when that is mended, or without --log"
        ) from error
    display = _Logged(watch, log)
    try:
        yield display
    finally:
        display.close()


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
        self._is_broken = False

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int, /
    ) -> None:
        self._watch.begin(plan, directory, budget, workers)

    def show(self, history: History, /) -> None:
        self._watch.show(history)
        if history.tally.proposals > self._step:
            self._step = history.tally.proposals
            self._try(lambda: self._log.write(values_of(history), self._step))

    def close(self) -> None:
        """Write what is left."""
        self._try(self._log.close)

    def _try(self, call: Callable[[], None]) -> None:
        """Call the log; say once that it fails, and go on without it."""
        try:
            call()
        except Exception as error:
            if not self._is_broken:
                self._is_broken = True
                self.say(f"The log is not written any more ({one_line(error)}); the search goes on")


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
