"""Workers on a Ray cluster: a laptop's own, a Slurm job's, or one that Kubernetes scales.

Ray places processes and notices when they or their machines die. What happens then is decided here
and one floor above, by the same rules as for local workers: Ray itself retries nothing, because its
retries run a job at least once and come back in any order.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass
from typing import Any, Literal

from optforge.errors import SearchError
from optforge.execution.actor import Actor
from optforge.execution.connection import first_line, join_cluster, leave_cluster, room_of
from optforge.execution.packing import THREAD_VARIABLES, last_line, pack_factory
from optforge.execution.pool import IDLE_DEATHS, Pool
from optforge.execution.protocol import Completed, Factory, Failed

_IN_SIGHT = 1.0  # seconds between two looks at who has joined or is overdue


class ClusterPool(Pool["_Worker"]):
    """Answers jobs in actors of a Ray cluster, one core or one GPU each, one job at a time.

    The function that answers jobs, with its data, is put into the cluster's object store once. An
    actor that dies, or whose machine does, is replaced, and its job comes back as `Failed`.
    Machines that join later are used as soon as they are there.

    Args:
        factory: Builds the function that answers jobs, once in each process. It travels by
            cloudpickle; jobs and results are plain values and travel by pickle.
        address: ``auto`` for the cluster that runs on this machine (or that ``RAY_ADDRESS`` names),
            and a new one on this machine where there is none; otherwise ``HOST:PORT`` or
            ``ray://HOST:PORT``.
        workers: Number of actors, asked of the cluster even where it has no room yet, so that one
            that scales by itself grows; None: as many as it has cores (or GPUs) at any time.
        timeout: Seconds that one job may take, start-up of its process not counted.
        threads: Threads of torch in each process.
        gpus: Whether each actor gets a GPU besides its core.

    Raises:
        SearchError: If Ray is missing, the cluster cannot be reached, or the factory cannot travel.

    Source: Moritz et al., Ray: A Distributed Framework for Emerging AI Applications, 2018
    (arXiv:1712.05889).
    """

    def __init__(
        self,
        factory: Factory,
        address: str = "auto",
        workers: int | None = None,
        timeout: float = 600.0,
        threads: int = 1,
        gpus: bool = False,
    ) -> None:
        if (workers is not None and workers < 1) or threads < 1 or not timeout > 0:
            raise SearchError(
                "a cluster's workers and threads must be at least 1 and the limit above 0 s, got "
                f"{workers=}, {threads=}, {timeout=}"
            )
        super().__init__()
        self._wanted, self._timeout, self._gpus = workers, timeout, gpus
        packed = pack_factory(factory)
        self._ray, self._ours = join_cluster(address)
        self._factory = self._ray.put(packed)
        self._threads, self._actor = threads, _actor_class(self._ray, threads, gpus)
        self._looked, self._closed = 0.0, False
        self._populate()

    @property
    def ready(self) -> int:
        """Actors that have built their function."""
        return sum(worker.started for worker in self._workers)

    def next(self, timeout: float | None = None) -> Completed | Failed | None:
        """Wait for the outcome of one job, in the order in which they end.

        Args:
            timeout: Seconds after which None is returned instead; None waits as long as it takes.

        Raises:
            SearchError: If no job is waiting, the pool is closed, or no worker can be started.
        """
        end = self._end(timeout)
        while not self._done:
            now = time.monotonic()
            if now - self._looked > _IN_SIGHT:
                self._populate()
                self._expire(now)
            self._collect(min(max(end - now, 0.0), _IN_SIGHT))
            self._hand_out()
            if not self._done and time.monotonic() >= end:
                return None
        return self._take()

    def close(self) -> None:
        """End all actors and forget all jobs; a cluster that was started here ends too."""
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            worker.kill(self._ray)
        self._workers.clear()
        self._forget_jobs()
        if self._ours:
            leave_cluster()

    @property
    def _is_closed(self) -> bool:
        return self._closed

    def _populate(self) -> None:
        """Ask for as many actors as are wanted, or as the cluster has room for."""
        self._looked = time.monotonic()
        count = self._wanted or max(1, self._room())
        for _ in range(count - len(self._workers)):
            self._workers.append(self._start())

    def _start(self) -> _Worker:
        actor = self._actor.remote(self._factory, self._threads)
        return _Worker(actor, actor.begin.remote())

    def _room(self) -> int:
        return room_of(self._ray, self._gpus)

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._waiting and worker.idle:
                worker.give(*self._waiting.popleft(), self._timeout)

    def _collect(self, seconds: float) -> None:
        """Wait until an actor says something or dies, and hear all that did."""
        asked = {worker.reply: worker for worker in self._workers if worker.reply is not None}
        if not asked:
            time.sleep(min(seconds, 0.05))
            return
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for reply in ready:
            self._listen(asked[reply])

    def _listen(self, worker: _Worker) -> None:
        reply, worker.reply, worker.limit = worker.reply, None, float("inf")
        try:
            answer = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            self._bury(worker, error)
            return
        if isinstance(answer, str):
            raise self._give_up(last_line(answer), answer)
        is_wanted, worker.is_abandoned = not worker.is_abandoned, False
        worker.started, worker.key = True, None
        if answer is not None:
            self._idle_deaths = 0
            self._done.extend([pickle.loads(answer)] if is_wanted else [])

    def _bury(self, worker: _Worker, error: Exception) -> None:
        """Replace an actor that is gone; its job, if it had one, has failed."""
        self._workers.remove(worker)
        worker.kill(self._ray)
        if worker.key is not None:
            self._fail(worker, "died", first_line(error))
        else:
            self._idle_deaths += 1
            if self._idle_deaths > IDLE_DEATHS * (len(self._workers) + 1):
                raise self._give_up("its processes end before they have done anything", str(error))
        self._populate()

    def _expire(self, now: float) -> None:
        """Kill and replace actors that take too long."""
        for worker in [worker for worker in self._workers if worker.limit <= now]:
            self._workers.remove(worker)
            worker.kill(self._ray)
            self._fail(worker, "timeout", f"no answer within {self._timeout:g} s")
        self._populate()

    def _fail(self, worker: _Worker, reason: Literal["died", "timeout"], detail: str) -> None:
        assert worker.key is not None, "only jobs have a limit"
        if not worker.is_abandoned:
            self._done.append(Failed(worker.key, reason, detail))

    def _give_up(self, reason: str, detail: str) -> SearchError:
        self.close()
        error = SearchError(f"the workers of the cluster cannot start: {reason}")
        error.add_note(detail)
        return error


@dataclass(eq=False)
class _Worker:
    """One actor; `reply` is the object that it owes, `key` that of its job."""

    actor: Any
    reply: Any
    key: int | None = None
    limit: float = float("inf")
    started: bool = False
    is_abandoned: bool = False  # nobody wants the outcome of its job

    @property
    def idle(self) -> bool:
        return self.started and self.reply is None

    def give(self, key: int, job: bytes, timeout: float) -> None:
        self.key, self.limit = key, time.monotonic() + timeout
        self.reply = self.actor.answer.remote(key, job)

    def kill(self, ray: Any) -> None:
        ray.kill(self.actor, no_restart=True)


def _actor_class(ray: Any, threads: int, gpus: bool) -> Any:
    variables = dict.fromkeys(THREAD_VARIABLES, str(threads))
    remote = ray.remote(
        num_cpus=1,
        num_gpus=1 if gpus else 0,
        max_restarts=0,  # we replace actors ourselves, and know which job was lost
        max_task_retries=0,
        runtime_env={"env_vars": variables},
    )
    return remote(Actor)
