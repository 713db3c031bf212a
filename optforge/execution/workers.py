"""A pool of local worker processes that can die, hang and be replaced without affecting others.

Other pools do not suffice: those of `concurrent.futures` break as a whole when one process dies,
and pebble's workers share one channel, so a worker killed from outside at the wrong moment blocks
or breaks it for all. Here each worker has its own pipe and one job at a time.
"""

from __future__ import annotations

import time
from multiprocessing import connection
from typing import Any

from optforge.errors import SearchError
from optforge.execution import child
from optforge.execution.packing import last_line, pack_factory
from optforge.execution.pool import IDLE_DEATHS, Pool
from optforge.execution.protocol import Completed, Factory, Failed
from optforge.execution.worker import Worker


class WorkerPool(Pool[Worker]):
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
        super().__init__()
        self._packed = pack_factory(factory)
        self._timeout, self._threads, self._startup = timeout, threads, startup
        try:
            for _ in range(workers):
                self._workers.append(self._start())
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> tuple[int, ...]:
        """The process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def next(self, timeout: float | None = None) -> Completed | Failed | None:
        """Wait for the outcome of one job, in the order in which they end.

        After a Ctrl-C in this call, the pool can only be closed.

        Args:
            timeout: Seconds after which None is returned instead; None for no limit.

        Raises:
            SearchError: If no job is waiting, the pool is closed, or no worker can be started.
        """
        end = self._end(timeout)
        while True:
            self._collect(0.0 if self._done else end)
            self._hand_out()
            if self._done:
                return self._take()
            if time.monotonic() >= end:
                return None

    def close(self) -> None:
        """Kill all workers, whatever they are doing, and discard all jobs; safe to call twice."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._forget_jobs()

    @property
    def _is_closed(self) -> bool:
        return not self._workers

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
        if self._idle_deaths > IDLE_DEATHS * len(self._workers):
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
