"""What runs inside an actor of a Ray cluster."""

from __future__ import annotations

import traceback
from typing import Any

import cloudpickle

from optforge.execution.child import limit_threads, reply_to


class Actor:
    """Builds the function that answers jobs, and answers them.

    Args:
        factory: The factory by cloudpickle.
        threads: Threads of torch; the environment was set before this process began.
    """

    def __init__(self, factory: bytes, threads: int) -> None:
        self._factory, self._threads = factory, threads
        self._function: Any = None

    def begin(self) -> str | None:
        """Build the function; return the traceback where that fails."""
        try:
            self._function = cloudpickle.loads(self._factory)()
            limit_threads(self._threads)
        except BaseException:
            return traceback.format_exc()
        return None

    def answer(self, key: int, job: bytes) -> bytes:
        """Return the pickled outcome of a pickled job."""
        return reply_to(self._function, key, job)
