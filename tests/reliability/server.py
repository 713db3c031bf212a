"""A process that runs verbs in children, and kills them; torch is loaded once for all.

Reads one JSON object a line and answers with one: the exit status, whether a worker was killed,
and how many calls changed a file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401
import optuna  # noqa: F401
import torch._dynamo.convert_frame  # noqa: F401

from optforge.cli.app import VERBS, app
from tests.reliability import shim

for verb in VERBS:
    import_module(f"optforge.cli.{verb.replace('-', '_')}")


def child(request: dict[str, Any]) -> None:
    """Run a verb as the command line does; never returns."""
    os.setsid()
    os.chdir(request["root"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    code: Any = 99
    try:
        shim.arm(
            Path(request["root"]),
            Path(request["log"]),
            request["call"],
            request["torn"],
            request["error"],
        )
        app(request["words"])
    except SystemExit as error:
        code = error.code or 0
    finally:
        os._exit(code if isinstance(code, int) else 98)


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run a verb in a child; kill it, or one of its workers, after some seconds."""
    start, pid = time.monotonic(), os.fork()
    if pid == 0:
        child(request)
    killed, after = False, request["seconds"]
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if after is not None and not killed and time.monotonic() - start >= after:
            victim = _worker(pid) if request["worker"] else pid
            if victim:
                os.kill(victim, signal.SIGKILL)
                killed = True
        time.sleep(0.002)
    # Workers whose parent is gone end by themselves.
    orphans = _wait_for_group(pid)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "killed": killed,
        "seconds": time.monotonic() - start,
        "orphans": orphans,
        "calls": len(shim.read_log(Path(request["log"]))),
    }


def _worker(pid: int) -> int | None:
    """Return a worker of a process, if it has one by now."""
    for child_pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            line = Path(f"/proc/{child_pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in line:
            return int(child_pid)
    return None


def _wait_for_group(group: int, seconds: float = 20.0) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return 0
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    return 1


def serve() -> None:
    """Answer requests until the input ends."""
    assert len(os.listdir("/proc/self/task")) == 1, "a fork keeps one thread only"
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
