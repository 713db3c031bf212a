"""Workers that die, hang, and are left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from optforge.errors import SearchError
from optforge.execution import Completed, Failed, WorkerPool
from optforge.execution.worker import Worker
from tests.execution.factories import answer, answers, broken, dying, endless, slow

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(answers, workers=2, timeout=2.0) as pool:
        yield pool


def gather(
    pool: WorkerPool, jobs: Mapping[int, tuple[str, object]]
) -> dict[int, Completed | Failed]:
    for key, job in jobs.items():
        pool.submit(key, job)
    found = [pool.next() for _ in jobs]
    return {outcome.key: outcome for outcome in found if outcome is not None}


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pids: list[int] | tuple[int, ...], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end, f"still running: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("job", "detail"),
    [
        (("signal", signal.SIGKILL), "signal SIGKILL"),
        (("signal", signal.SIGSEGV), "signal SIGSEGV"),
        (("signal", signal.SIGTERM), "signal SIGTERM"),
        (("exit", 3), "exit code 3"),
        (("exit", 0), "exit code 0"),
    ],
)
def test_a_death_costs_its_own_job_only(
    pool: WorkerPool, job: tuple[str, object], detail: str
) -> None:
    jobs = {0: ("sleep", 0.3), 1: job} | {key: ("double", key) for key in range(2, 12)}
    outcomes = gather(pool, jobs)
    failed = outcomes.pop(1)
    assert isinstance(failed, Failed)
    assert failed.reason == "died" and detail in failed.detail
    assert all(isinstance(outcome, Completed) for outcome in outcomes.values())
    assert len(pool.processes) == 2 and all(map(alive, pool.processes))


def test_a_hanging_job_is_killed_and_its_worker_replaced(pool: WorkerPool) -> None:
    before = set(pool.processes)
    start = time.monotonic()
    outcomes = gather(pool, {0: ("sleep", 600), 1: ("double", 1), 2: ("sleep", 600)})
    assert time.monotonic() - start < 60  # the job itself would hang for hours
    assert isinstance(outcomes[1], Completed)
    for key in (0, 2):
        failed = outcomes[key]
        assert isinstance(failed, Failed)
        assert failed.reason == "timeout" and "2 s" in failed.detail
    gone = before - set(pool.processes)
    assert gone and not any(map(alive, gone))
    assert all(isinstance(o, Completed) for o in gather(pool, {0: ("pid", 0)}).values())


def test_a_worker_with_an_abandoned_job_is_used_again_or_replaced(
    pool: WorkerPool, tmp_path: Path
) -> None:
    while not all(worker.idle for worker in pool._workers):
        gather(pool, {0: ("sleep", 0.05)})
    files = tmp_path / "short", tmp_path / "long"
    for key, (file, seconds) in enumerate(zip(files, (1.0, 600.0), strict=True)):
        pool.submit(key, ("touch", (str(file), seconds)))
    while not all(file.exists() and file.read_text() for file in files):
        time.sleep(0.01)
    short, long = (int(file.read_text()) for file in files)
    pool.abandon(1.5)
    outcomes = gather(pool, {key: ("sleep", 0.2) for key in range(8)})
    assert all(isinstance(outcome, Completed) for outcome in outcomes.values())
    assert short in pool.processes and long not in pool.processes
    wait_until_gone([long])


def test_idle_workers_that_are_killed_are_replaced(pool: WorkerPool) -> None:
    gather(pool, {key: ("sleep", 0.05) for key in range(4)})
    for pid in pool.processes:
        os.kill(pid, signal.SIGKILL)
    outcomes = gather(pool, {key: ("double", key) for key in range(6)})
    # A job that was handed to a dying worker may be lost with it; none may be forgotten.
    assert sorted(outcomes) == list(range(6))
    lost = [outcome for outcome in outcomes.values() if isinstance(outcome, Failed)]
    assert len(lost) <= 2 and all(outcome.reason == "died" for outcome in lost)


def test_outcomes_come_as_they_end_and_waiting_can_be_limited(pool: WorkerPool) -> None:
    gather(pool, {key: ("sleep", 0.05) for key in range(4)})  # both workers are up
    pool.submit(0, ("sleep", 0.6))
    pool.submit(1, ("double", 1))
    first = pool.next()
    assert first is not None and first.key == 1
    start = time.monotonic()
    assert pool.next(timeout=0.05) is None
    assert 0.04 < time.monotonic() - start < 0.5
    assert pool.outstanding == 1
    last = pool.next(timeout=30)
    assert last is not None and last.key == 0


def test_large_results_and_results_that_cannot_travel(pool: WorkerPool) -> None:
    outcomes = gather(pool, {0: ("large", 5_000_000), 1: ("unpicklable", 1)})
    large, failed = outcomes[0], outcomes[1]
    assert isinstance(large, Completed) and len(large.result) == 5_000_000
    assert isinstance(failed, Failed) and failed.reason == "error"
    with pytest.raises(SearchError, match="plain values"):
        pool.submit(2, lambda: 1)
    assert pool.outstanding == 0


def test_surroundings_of_a_worker(pool: WorkerPool) -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    jobs: Mapping[int, tuple[str, object]] = {
        0: ("environment", "OMP_NUM_THREADS"),
        1: ("interrupt", 0),
    }
    found = [o.result for _, o in sorted(gather(pool, jobs).items()) if isinstance(o, Completed)]
    assert found == ["1", True]
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_start_up_does_not_count_against_the_limit() -> None:
    with WorkerPool(slow, workers=1, timeout=0.5) as pool:
        outcomes = gather(pool, {0: ("double", 1)})
    assert isinstance(outcomes[0], Completed) and outcomes[0].seconds < 0.5


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (broken, "ValueError: the data set is missing"),
        (dying, "end before they have done anything .exit code 7"),
    ],
)
def test_a_factory_that_fails_ends_the_pool(factory: object, reason: str) -> None:
    pool = WorkerPool(factory, workers=1, timeout=60)  # type: ignore[arg-type]
    pool.submit(0, ("double", 1))
    with pytest.raises(SearchError, match=reason):
        pool.next()
    assert pool.processes == ()
    with pytest.raises(SearchError):
        pool.next()
    with pytest.raises(SearchError, match="closed"):
        pool.submit(1, ("double", 1))


def test_a_factory_that_never_ends() -> None:
    pool = WorkerPool(endless, workers=1, timeout=60, startup=0.5)
    pids = pool.processes
    pool.submit(0, ("double", 1))
    with pytest.raises(SearchError, match="not ready after 0.5 s"):
        pool.next()
    assert not any(map(alive, pids))


def test_what_cannot_be_sent_or_counted_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(SearchError, match="cannot be sent"):
        WorkerPool(lambda: lambda _: lock.locked(), workers=1, timeout=60)
    for workers, timeout in ((0, 1.0), (1, 0.0), (1, float("nan"))):
        with pytest.raises(SearchError, match="at least one worker"):
            WorkerPool(answers, workers=workers, timeout=timeout)


def test_close_leaves_nothing_behind() -> None:
    pool = WorkerPool(answers, workers=2, timeout=60)
    pids = pool.processes
    pool.submit(0, ("sleep", 600))
    pool.submit(1, ("double", 1))
    outcome = pool.next()
    assert outcome is not None and outcome.key == 1
    pool.close()
    pool.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)  # no zombie either
    assert pool.outstanding == 0


PARENT = """
import sys, time
from optforge.execution import WorkerPool
from tests.execution.factories import answers
pool = WorkerPool(answers, workers=2, timeout=600)
pool.submit(0, ("double", 1))
pool.next()
for key in (1, 2):
    pool.submit(key, ("touch", (sys.argv[key], 600)))
print(*pool.processes, flush=True)
try:
    pool.next()
except KeyboardInterrupt:
    pool.close()
    print("stopped", flush=True)
"""


def start_parent(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A process with two workers in the middle of long jobs."""
    marks = [tmp_path / "one", tmp_path / "two"]
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, *map(str, marks)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    end = time.monotonic() + 30
    while not all(mark.exists() for mark in marks):
        assert time.monotonic() < end
        time.sleep(0.02)
    return process, pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    process, pids = start_parent(tmp_path)
    with process:
        process.send_signal(number)
        process.wait()
        wait_until_gone(pids)


def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    """A terminal sends SIGINT to the whole group; workers must not print tracebacks."""
    process, pids = start_parent(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert output.strip() == "stopped"
    assert errors == ""
    wait_until_gone(pids)


def test_ctrl_c_while_workers_are_born(tmp_path: Path) -> None:
    script = """
import sys, time
from optforge.execution import WorkerPool
from tests.execution.factories import endless
try:
    pool = WorkerPool(endless, workers=2, timeout=60)
    pool.submit(0, 1)
    print("born", flush=True)
    pool.next()
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "born\n"
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (output.strip(), errors) == ("stopped", "")


NOTEBOOK = """
from dataclasses import dataclass
from optforge.execution import WorkerPool

@dataclass
class Scorer:
    factor: int
    def __call__(self, job):
        return self.factor * job

pool = WorkerPool(lambda: Scorer(3), workers=2, timeout=60)
pool.submit(0, 14)
print(pool.next().result)
pool.close()
"""


@pytest.mark.parametrize("kind", ["script", "notebook"])
def test_classes_of_a_script_without_guard_and_of_a_notebook(tmp_path: Path, kind: str) -> None:
    """Spawn would run an unguarded script again in every worker; here it must not."""
    script = tmp_path / "script.py"
    script.write_text(NOTEBOOK)
    command = (
        [sys.executable, str(script)] if kind == "script" else [sys.executable, "-c", NOTEBOOK]
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("42\n", "", 0)


PROGRESS = """
from optforge.execution.workers import WorkerPool
def factory():
    from tqdm.auto import tqdm
    return lambda count: sum(tqdm(range(count), disable=True))
pool = WorkerPool(factory, workers=1, timeout=60)
pool.submit(0, 4)
print(pool.next().result)
pool.close()
"""


def test_a_killed_worker_leaves_no_semaphore_of_progress_bars() -> None:
    """Torch's compiler makes such a bar; what is left is reported when the program ends."""
    command = [sys.executable, "-c", PROGRESS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("6\n", "", 0)


def test_the_function_of_these_tests() -> None:
    assert answer(("double", 2)) == 4


def test_more_workers_than_the_system_allows_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that were started before are stopped."""
    started: list[Worker] = []

    def start(*arguments: Any) -> Worker:
        if len(started) == 1:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(Worker(*arguments))
        return started[0]

    monkeypatch.setattr("optforge.execution.workers.Worker", start)
    with pytest.raises(SearchError, match=r"no more than 1 workers can be started .*give fewer"):
        WorkerPool(lambda: abs, workers=3, timeout=10)
    assert started[0].kill() == "signal SIGKILL"


def test_the_default_type_of_the_caller_holds_in_workers() -> None:
    """Else models made in a worker do not fit data made in the caller."""

    def factory() -> Callable[[Any], Any]:
        return lambda job: str(torch.get_default_dtype())

    torch.set_default_dtype(torch.float64)
    try:
        with WorkerPool(factory, workers=1, timeout=60) as pool:
            pool.submit(1, None)
            outcome = pool.next()
    finally:
        torch.set_default_dtype(torch.float32)
    assert isinstance(outcome, Completed) and outcome.result == "torch.float64"
