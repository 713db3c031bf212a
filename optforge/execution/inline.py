"""An executor that runs jobs in this process."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optforge.errors import USERS_ERRORS, SearchError, one_line
from optforge.execution.protocol import Completed, Factory, Failed


class InlineExecutor:
    """Runs jobs in this process, one by one, each when its outcome is requested.

    No time limit and no protection from a job that ends the process: those need `WorkerPool`.

    Args:
        factory: Builds the function that answers jobs; called at once.
        threads: Threads of torch while a job runs, as in a worker: sums over several threads
            round differently, and a result must not depend on the executor.

    Raises:
        SearchError: If the factory fails.

    Example:
        >>> executor = InlineExecutor(lambda: abs)
        >>> executor.submit(1, -3)
        >>> executor.next().result
        3
    """

    def __init__(self, factory: Factory, threads: int = 1) -> None:
        self._threads = threads
        self._jobs: dict[int, Any] = {}  # in the order of submission
        try:
            self._function = factory()
        except USERS_ERRORS as error:
            said = error if isinstance(error, Exception) else one_line(error)
            raise SearchError(f"the evaluation cannot start: {said}") from error

    @property
    def outstanding(self) -> int:
        """Number of submitted jobs whose outcome has not been returned."""
        return len(self._jobs)

    def submit(self, key: int, job: Any) -> None:
        """Submit a job; it runs in `next`."""
        if key in self._jobs:
            raise SearchError(f"a job with the key {key} is waiting already")
        self._jobs[key] = job

    def next(self, timeout: float | None = None) -> Completed | Failed:
        """Run the oldest waiting job to its end; the time limit has no effect here."""
        del timeout
        if not self._jobs:
            raise SearchError("there is no job to wait for; submit one first")
        key = next(iter(self._jobs))
        with _torch_threads(self._threads):
            outcome = answer(self._function, key, self._jobs[key])
        del self._jobs[key]  # not before: a job interrupted by Ctrl-C is still waiting
        return outcome

    def abandon(self, seconds: float) -> None:
        """Discard the waiting jobs; none runs outside of `next`."""
        del seconds
        self._jobs.clear()

    def close(self) -> None:
        """Discard the waiting jobs."""
        self._jobs.clear()


def answer(function: Any, key: int, job: Any) -> Completed | Failed:
    """Call the function on one job and time it; an exception becomes a `Failed`.

    Example:
        >>> answer(abs, 1, "text").reason
        'error'
    """
    start = time.perf_counter()
    try:
        result = function(job)
    except USERS_ERRORS:  # a job may end, but not end the process it runs in
        return Failed(key, "error", traceback.format_exc())
    return Completed(key, result, time.perf_counter() - start)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    torch = sys.modules.get("torch")  # nothing to set where torch is not in use
    if torch is None or torch.get_num_threads() == count:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
