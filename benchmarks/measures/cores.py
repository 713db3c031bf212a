"""Processes to measure in: each is spawned with its number of threads and answers calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from optforge.execution import Completed, WorkerPool

_LIMIT = 3600.0


class Core:
    """One process of its own; a context manager that ends it.

    Args:
        threads: Threads of torch in it.
    """

    def __init__(self, threads: int = 1) -> None:
        self._pool = WorkerPool(_caller, 1, _LIMIT, threads)

    def __enter__(self) -> Core:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function of a module there, with plain values."""
        self._pool.submit(0, (function, arguments))

    def result(self) -> Any:
        """Wait for what the call gave."""
        outcome = self._pool.next()
        if not isinstance(outcome, Completed):
            raise RuntimeError(
                f"a measurement failed: {outcome.detail if outcome else 'no answer'}"
            )
        return outcome.result

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call and wait."""
        self.submit(function, *arguments)
        return self.result()


def together(
    cores: Sequence[Core], function: Callable[..., Any], *arguments: Any
) -> tuple[float, list[Any]]:
    """Call the same on all cores at once: seconds until the last is done, and the results."""
    start = time.perf_counter()
    for core in cores:
        core.submit(function, *arguments)
    results = [core.result() for core in cores]
    return time.perf_counter() - start, results


def _caller() -> Callable[[Any], Any]:
    return _call


def _call(job: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    function, arguments = job
    return function(*arguments)
