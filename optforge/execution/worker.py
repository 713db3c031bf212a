"""A worker process and the parent's end of its pipe."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from optforge.execution import child
from optforge.execution.packing import THREAD_VARIABLES
from optforge.execution.protocol import Failed

_starting = threading.Lock()  # what a start changes is global


class Worker:
    """A process and the parent's end of its pipe.

    `limit` is the time at which it is overdue; `key` is the key of its job, whose outcome nobody
    wants if it `is_abandoned`. A worker is idle when it is ready and has no job.
    """

    def __init__(self, factory: bytes, threads: int, startup: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self._process = context.Process(
            target=child.run, args=(far, factory, threads), name="optforge-worker", daemon=True
        )
        with _starting, _clean_start(threads):
            self._process.start()
        far.close()  # or the death of the worker would not show as the end of the pipe
        self.pid = self._process.pid or 0
        self.sentinel = self._process.sentinel
        self._end: str | None = None
        self.key: int | None = None
        self.idle = self.is_abandoned = False
        self.limit = time.monotonic() + startup

    def give(self, key: int, job: bytes, timeout: float) -> bool:
        """Send it a job; return False if it is dead, which the sentinel will also report soon."""
        self.idle = False
        try:
            self.pipe.send_bytes(pickle.dumps((key, job)))
        except OSError:
            return False
        self.key, self.limit = key, time.monotonic() + timeout
        return True

    def read(self) -> tuple[str, Any] | None:
        """Return its next message, or None if it is dead; a last message before death counts."""
        try:
            if not self.pipe.poll():
                return None
            packed = self.pipe.recv_bytes()
        except (EOFError, OSError):
            return None
        try:
            word, content = pickle.loads(packed)
            return word, pickle.loads(content) if word == child.ANSWER else content
        except Exception as error:  # a result whose class does not exist on this side
            failure = Failed(self.key or 0, "error", f"the result cannot be read: {error!r}")
            return child.ANSWER, failure

    def kill(self, grace: float = 0.0) -> str:
        """Kill it for certain, leave no zombie, and return how it ended.

        Args:
            grace: Seconds that a process whose pipe is closed may need to end by itself, so that
                its own exit is reported and not the kill.
        """
        if self._end is None:
            self._process.join(grace)
            self._process.kill()
            self._process.join()
            self._end = _describe_end(self._process.exitcode or 0)
            self._process.close()
            self.pipe.close()
        return self._end


def _describe_end(code: int) -> str:
    try:
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"


@contextmanager
def _clean_start(threads: int) -> Iterator[None]:
    """Set up the environment in which a worker process starts.

    - The thread counts are in its environment, because they are read when torch is imported.
    - Ctrl-C is blocked until the worker ignores it; a new process inherits the mask.
    - It does not run the parent's script again, as spawn would. So a script without the guard
      `if __name__ == "__main__"` works, and its definitions are sent by value anyway.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    main = sys.modules["__main__"]
    resource_tracker.ensure_running()  # its own start would unblock the signal again
    mask = _block_interrupts()
    try:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        sys.modules["__main__"] = types.ModuleType("__main__")
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _block_interrupts() -> set[Any] | None:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return None
    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
