"""The one place that decides where jobs run, and on how many processes."""

from __future__ import annotations

from optforge.execution.inline import InlineExecutor
from optforge.execution.protocol import Executor, Factory
from optforge.execution.workers import WorkerPool

JOB_SECONDS = 600.0  # a job takes seconds; a worker that needs longer hangs


def start_executor(factory: Factory, workers: int, limit: float = JOB_SECONDS) -> Executor:
    """Start worker processes, or use this process if there shall be none.

    Args:
        factory: Builds the function that answers jobs, once in each process.
        workers: Number of processes; 0 for this process alone, where no job has a time limit.
        limit: Seconds that one job may take.

    Example:
        >>> executor = start_executor(lambda: abs, workers=0)
        >>> executor.submit(1, -3)
        >>> executor.next().result
        3
    """
    return WorkerPool(factory, workers, limit) if workers else InlineExecutor(factory)
