"""The code inside a worker process: build the function once, then answer jobs until the end."""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
import traceback
from multiprocessing import connection, parent_process
from typing import Any, Literal

import cloudpickle

from optforge.execution.inline import answer
from optforge.execution.lasting import LastingOutput
from optforge.execution.protocol import Failed

READY: Literal["ready"] = "ready"
BROKEN: Literal["broken"] = "broken"
ANSWER: Literal["answer"] = "answer"


def run(pipe: connection.Connection, factory: bytes, threads: int) -> None:
    """Serve a pipe: send `READY` (or `BROKEN` and why), then one `ANSWER` for each job.

    Args:
        pipe: Pipe that carries pickled `(key, job)` in and `(word, content)` out.
        factory: The factory, pickled by cloudpickle so that classes of a notebook are sent by
            value.
        threads: Number of torch threads; the environment was set before this process started.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    leave_no_semaphore()
    print_anything()
    try:
        try:
            function = cloudpickle.loads(factory)()
            limit_threads(threads)
        except BaseException:
            pipe.send_bytes(pickle.dumps((BROKEN, traceback.format_exc())))
            return
        pipe.send_bytes(pickle.dumps((READY, None)))
        while True:
            key, job = pickle.loads(pipe.recv_bytes())
            pipe.send_bytes(pickle.dumps((ANSWER, reply_to(function, key, job))))
    except (EOFError, OSError):  # the parent closed the pipe
        return


def reply_to(function: Any, key: int, packed: bytes) -> bytes:
    """Answer a pickled job; the outcome is pickled here, so that a failure to is an outcome too.

    Args:
        function: Answers jobs.
        key: The job's key.
        packed: The job.

    Returns:
        A pickled `Completed` or `Failed`.
    """
    try:
        return pickle.dumps(answer(function, key, pickle.loads(packed)))
    except Exception:
        return pickle.dumps(Failed(key, "error", traceback.format_exc()))


def print_anything() -> None:
    """Keep the user's prints from failing: for an encoding, a lost reader or a full disk."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            setattr(sys, name, LastingOutput(stream))


def leave_no_semaphore() -> None:
    """Set the lock of tqdm, which torch's compiler calls, to one between threads.

    Its own one is between processes: a semaphore that is left when a worker is killed.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return
    tqdm.set_lock(threading.RLock())


def limit_threads(count: int) -> None:
    """Set the threads of torch, if it is loaded."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def _end_with_parent() -> None:
    """Exit as soon as the parent is gone, for whatever reason, even in the middle of a job."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(0)
