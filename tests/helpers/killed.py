"""A process that forks searches and kills them, without loading torch again for each.

Reads one JSON object a line: the arguments of :func:`child`, and `seconds` after which the child
is killed from outside. Answers with the exit status of the child.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from optforge.evolution import Settings
from optforge.execution import Executor, Failed, InlineExecutor
from optforge.fitness import Judge, Measure
from optforge.language import Program
from optforge.runs import journal
from tests.helpers.searches import pretend, small

DEADLY = {"tanh": "died", "sin": "died", "log": "died", "cos": "timeout", "exp": "timeout"}
BUSY = small(constants_programs=60, restart_after=50)


def deadly(program: Program) -> bool:
    """Which programs pretend to end their worker."""
    return any(statement.function in DEADLY for statement in program.statements)


class Mortal(InlineExecutor):
    """Jobs with a deadly program die or hang, as in a worker."""

    deadly_jobs: tuple[type, ...] = (Judge, Measure)

    def next(self, timeout: float | None = None) -> Any:
        key = next(iter(self._jobs), None)
        job = self._jobs.get(key) if key is not None else None
        if isinstance(job, self.deadly_jobs) and any(map(deadly, job.programs)):
            del self._jobs[key]  # type: ignore[arg-type]
            names = {s.function for p in job.programs for s in p.statements}
            hangs = any(DEADLY.get(name) == "timeout" for name in names)
            return Failed(key or 0, "timeout" if hangs else "died", "pretended")
        return super().next(timeout)


class MortalMeasurements(Mortal):
    """What is deadly when it is measured is none when it is judged, as seeds differ."""

    deadly_jobs = (Measure,)


def go(path: str, settings: Settings, programs: int, mortal: bool) -> None:
    """Search with invented verdicts."""
    executor: type[Executor] = Mortal if mortal else InlineExecutor  # type: ignore[assignment]
    pretend(Path(path), settings, programs, executor=executor)


def child(path: str, programs: int, statement: int, mortal: bool) -> None:
    """Search, and end by SIGKILL when the database is handed its n-th statement."""
    left, real = [statement], journal.connect

    def count(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(at: Path) -> Any:
        connection = real(at)
        connection.set_trace_callback(count)
        return connection

    journal.connect = connect
    go(path, BUSY, programs, mortal)


def serve() -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        seconds = request.pop("seconds")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child(**request)
                code = 0
            finally:
                os._exit(code)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
