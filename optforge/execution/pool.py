"""What pools of workers share: jobs that wait for a worker, and outcomes that wait to be taken."""

from __future__ import annotations

import pickle
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Generic, Protocol, Self, TypeVar

from optforge.errors import SearchError
from optforge.execution.protocol import Completed, Failed

IDLE_DEATHS = 3  # a worker; more deaths in a row without any job say that none can live here


class PoolWorker(Protocol):
    """A worker as a pool sees it.

    Attributes:
        key: Of the job it works on, or None.
        limit: Time of the monotonic clock at which it is overdue.
        is_abandoned: Whether nobody wants the outcome of its job.
    """

    key: int | None
    limit: float
    is_abandoned: bool


AnyWorker = TypeVar("AnyWorker", bound=PoolWorker)


class Pool(ABC, Generic[AnyWorker]):
    """Jobs and outcomes of some workers; who they are is said by subclasses."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._done: deque[Completed | Failed] = deque()
        self._keys: set[int] = set()  # submitted, not handed back
        self._workers: list[AnyWorker] = []
        self._idle_deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End all workers, whatever they are doing, and discard all jobs; safe to call twice."""

    @abstractmethod
    def _hand_out(self) -> None:
        """Give waiting jobs to idle workers."""

    @property
    @abstractmethod
    def _is_closed(self) -> bool:
        """Whether no job is taken any more."""

    @property
    def outstanding(self) -> int:
        """Number of submitted jobs whose outcome has not been returned."""
        return len(self._keys)

    def submit(self, key: int, job: Any) -> None:
        """Submit a job; it starts at once if a worker is free.

        Raises:
            SearchError: If the job cannot be pickled, its key is in use, or the pool is closed.
        """
        if self._is_closed:
            raise SearchError("the pool of workers is closed")
        if key in self._keys:
            raise SearchError(f"a job with the key {key} is waiting already")
        try:
            packed = pickle.dumps(job)
        except Exception as error:
            raise SearchError(f"a job must be of plain values: {error}") from error
        self._keys.add(key)
        self._waiting.append((key, packed))
        self._hand_out()

    def abandon(self, seconds: float) -> None:
        """Discard all jobs; see :meth:`optforge.execution.Executor.abandon`."""
        limit = time.monotonic() + seconds
        for worker in self._workers:
            if worker.key is not None:
                worker.is_abandoned, worker.limit = True, min(worker.limit, limit)
        self._forget_jobs()

    def _end(self, timeout: float | None) -> float:
        """Return the time at which a wait for an outcome ends; refuse one for nothing."""
        if not self._keys:
            raise SearchError("there is no job to wait for; submit one first")
        return time.monotonic() + (float("inf") if timeout is None else timeout)

    def _take(self) -> Completed | Failed:
        """Return the first outcome; its key is free again."""
        outcome = self._done.popleft()
        self._keys.discard(outcome.key)
        return outcome

    def _forget_jobs(self) -> None:
        self._waiting.clear()
        self._done.clear()
        self._keys.clear()
