"""A pool of local worker processes that can die, hang and be replaced without affecting others.

Other pools do not suffice: those of `concurrent.futures` break as a whole when one process dies,
and pebble's workers share one channel, so a worker killed from outside at the wrong moment blocks
or breaks it for all. Here each worker has its own pipe and one job at a time.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from multiprocessing import connection
from typing import Any

from optforge.errors import SearchError
from optforge.execution import child
from optforge.execution.packing import last_line, pack_factory
from optforge.execution.protocol import Completed, Factory, Failed
from optforge.execution.worker import Worker

_IDLE_DEATHS = 3  # a worker; more deaths in a row without any job say that none can live here


class WorkerPool:
    """Answers jobs in local processes, each spawned with its own function.

    A process that dies or exceeds the limit is killed and replaced, and its job comes back as
    `Failed`; other jobs continue. Processes ignore Ctrl-C and end with their parent.

    Args:
        factory: Builds the function that answers jobs, once in each process. It is sent by
            cloudpickle; jobs and results are plain values and are sent by pickle.
        workers: Number of processes.
        timeout: Time limit of one job in seconds, without the start-up of its process.
        threads: Number of torch threads in each process.
        startup: Time limit in seconds for a process to build its function.

    Raises:
        SearchError: If the factory cannot be pickled, a number is out of range, or the system lets
            this process start no more workers.

    Example:
        >>> with WorkerPool(lambda: abs, workers=1, timeout=60) as pool:
        ...     pool.submit(1, -3)
        ...     pool.next().result
        3
    """

    def __init__(
        self,
        factory: Factory,
        workers: int,
        timeout: float,
        threads: int = 1,
        startup: float = 600.0,
    ) -> None:
        if workers < 1 or threads < 1 or not timeout > 0 or not startup > 0:
            raise SearchError(
                f"a pool needs at least one worker and thread and limits above 0, "
                f"not {workers=}, {threads=}, {timeout=}, {startup=}"
            )
        self._packed = pack_factory(factory)
        self._timeout, self._threads, self._startup = timeout, threads, startup
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._done: deque[Completed | Failed] = deque()
        self._keys: set[int] = set()  # submitted, not handed back
        self._idle_deaths = 0
        self._workers: list[Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(self._start())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def outstanding(self) -> int:
        """Number of submitted jobs whose outcome has not been returned."""
        return len(self._keys)

    @property
    def processes(self) -> tuple[int, ...]:
        """The process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def submit(self, key: int, job: Any) -> None:
        """Submit a job; it starts at once if a worker is free.

        Raises:
            SearchError: If the job cannot be pickled, its key is in use, or the pool is closed.
        """
        if not self._workers:
            raise SearchError("the pool of workers is closed")
        if key in self._keys:
            raise SearchError(f"a job with the key {key} is waiting already")
        try:
            packed = pickle.dumps(job)
        except Exception as error:
            raise SearchError(f"a job must be of plain values: {error}") from error
        self._keys.add(key)
        self._waiting.append((key, packed))
        self._hand_out()

    def next(self, timeout: float | None = None) -> Completed | Failed | None:
        """Wait for the outcome of one job, in the order in which they end.

        After a Ctrl-C in this call, the pool can only be closed.

        Args:
            timeout: Seconds after which None is returned instead; None for no limit.

        Raises:
            SearchError: If no job is waiting, the pool is closed, or no worker can be started.
        """
        if not self._keys:
            raise SearchError("there is no job to wait for; submit one first")
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            self._collect(0.0 if self._done else end)
            self._hand_out()
            if self._done:
                outcome = self._done.popleft()
                self._keys.discard(outcome.key)
                return outcome
            if time.monotonic() >= end:
                return None

    def abandon(self, seconds: float) -> None:
        """Discard all jobs; see :meth:`optforge.execution.Executor.abandon`."""
        limit = time.monotonic() + seconds
        for worker in self._workers:
            if worker.key is not None:
                worker.is_abandoned, worker.limit = True, min(worker.limit, limit)
        self._forget_jobs()

    def close(self) -> None:
        """Kill all workers, whatever they are doing, and discard all jobs; safe to call twice."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._forget_jobs()

    def _forget_jobs(self) -> None:
        self._waiting.clear()
        self._done.clear()
        self._keys.clear()

    def _start(self) -> Worker:
        try:
            return Worker(self._packed, self._threads, self._startup)
        except OSError as error:  # a limit on processes, open files or memory
            raise SearchError(
                f"no more than {len(self._workers)} workers can be started "
                f"({error.strerror or error}); give fewer workers"
            ) from error

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._waiting and worker.idle and worker.give(*self._waiting[0], self._timeout):
                self._waiting.popleft()

    def _collect(self, end: float) -> None:
        """Wait until a worker sends a message, dies or is overdue, but not after `end`.

        All ready workers are read, so that no worker is starved by a faster one.
        """
        wait = min([end, *(worker.limit for worker in self._workers)]) - time.monotonic()
        sources: dict[Any, Worker] = {worker.pipe: worker for worker in self._workers}
        sources |= {worker.sentinel: worker for worker in self._workers}
        # No wait is endless, so that a Ctrl-C is noticed on every system.
        ready = connection.wait(list(sources), min(max(wait, 0.0), 1.0))
        heard = dict.fromkeys(sources[source] for source in ready)
        now = time.monotonic()
        late = [worker for worker in self._workers if worker.limit <= now and worker not in heard]
        outcomes = [self._listen(worker) for worker in heard]
        outcomes += [self._expire(worker) for worker in late]
        self._done.extend(outcome for outcome in outcomes if outcome is not None)

    def _listen(self, worker: Worker) -> Completed | Failed | None:
        message = worker.read()
        if message is None:
            return self._bury(worker)
        word, content = message
        if word == child.BROKEN:
            raise self._give_up(last_line(content), content)
        worker.limit = float("inf")
        worker.idle = True
        if word == child.READY:
            return None
        worker.key, self._idle_deaths = None, 0
        is_wanted, worker.is_abandoned = not worker.is_abandoned, False
        return content if is_wanted else None

    def _bury(self, worker: Worker) -> Failed | None:
        """Replace a worker that ended by itself; its job, if it had one, has failed."""
        code, key = worker.kill(grace=1.0), worker.key
        self._idle_deaths += key is None
        if self._idle_deaths > _IDLE_DEATHS * len(self._workers):
            raise self._give_up(f"its processes end before they have done anything ({code})")
        self._replace(worker)
        if key is None or worker.is_abandoned:
            return None
        return Failed(key, "died", f"its process ended with {code}")

    def _expire(self, worker: Worker) -> Failed | None:
        """Kill and replace a worker that takes too long."""
        if worker.key is None:
            raise self._give_up(f"a process was not ready after {self._startup:g} s")
        worker.kill()
        self._replace(worker)
        if worker.is_abandoned:
            return None
        return Failed(worker.key, "timeout", f"no answer within {self._timeout:g} s")

    def _replace(self, worker: Worker) -> None:
        self._workers[self._workers.index(worker)] = self._start()

    def _give_up(self, reason: str, detail: str = "") -> SearchError:
        self.close()
        error = SearchError(f"the workers cannot start: {reason}")
        if detail:
            error.add_note(detail)  # the traceback, for those who ask for it
        return error
