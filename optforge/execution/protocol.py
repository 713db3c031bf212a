"""The interface of an executor: jobs go in with a key, outcomes come out in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

Factory: TypeAlias = Callable[[], Callable[[Any], Any]]
"""Builds, once a process, the function that answers jobs."""


@dataclass(frozen=True)
class Completed:
    """A job that was answered.

    Args:
        key: The key it was submitted with.
        result: The answer.
        seconds: The time it took, without the start-up of a process.

    Example:
        >>> Completed(3, result=0.5, seconds=0.1).key
        3
    """

    key: int
    result: Any
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A job without an answer.

    Args:
        key: The key it was submitted with.
        reason: `died`: its process ended; `timeout`: it took too long and its process was killed;
            `error`: it raised an exception.
        detail: The exit code, the limit or the traceback, as text.

    Example:
        >>> Failed(3, "timeout", "no answer within 60 s").reason
        'timeout'
    """

    key: int
    reason: Literal["died", "timeout", "error"]
    detail: str


class Executor(Protocol):
    """Runs jobs. Nothing may depend on the order in which outcomes come back."""

    def submit(self, key: int, job: Any) -> None:
        """Submit a job under a key that no other waiting job has; never blocks for long."""
        ...

    def next(self, timeout: float | None = None) -> Completed | Failed | None:
        """Wait for the outcome of one job.

        Args:
            timeout: Seconds after which None is returned instead; None for no limit.

        Raises:
            SearchError: If no job is waiting, or no process can be started.
        """
        ...

    def abandon(self, seconds: float) -> None:
        """Discard all jobs; what runs is not waited for, and its outcome is not returned.

        A process that is busy answers other jobs as soon as it ends its job.

        Args:
            seconds: Time that a running job may still take; then its process is replaced.
        """
        ...

    def close(self) -> None:
        """Discard the waiting jobs and end all processes; safe to call twice."""
        ...
