"""The one place that decides where jobs run, and in how many processes."""

from __future__ import annotations

from dataclasses import dataclass

from optforge.errors import OptforgeError, SearchError
from optforge.execution.cluster import ClusterPool
from optforge.execution.connection import cluster_room
from optforge.execution.cores import usable_cores, worker_count
from optforge.execution.inline import InlineExecutor
from optforge.execution.protocol import Executor, Factory
from optforge.execution.workers import WorkerPool

_MOST = 64  # workers a core: each is a process that takes memory
JOB_SECONDS = 600.0  # a job takes seconds; a worker that needs longer hangs


@dataclass(frozen=True)
class ClusterWorkers:
    """Workers on a Ray cluster.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``, as for :class:`ClusterPool`.
        count: Processes to reckon with.
        gpus: Whether each has a GPU besides its core.
        fixed: Whether to ask for exactly so many; otherwise cores that join later are used as well.
    """

    address: str
    count: int
    gpus: bool = False
    fixed: bool = False


Workers = int | ClusterWorkers  # processes on this machine (0: this process alone), or a cluster


def process_count(workers: Workers) -> int:
    """Return the number of processes to reckon with.

    Example:
        >>> process_count(2), process_count(ClusterWorkers("auto", 64))
        (2, 64)
    """
    return workers.count if isinstance(workers, ClusterWorkers) else workers


def choose_workers(
    workers: object,
    cluster: str | None = None,
    gpus: bool = False,
    wrong: type[OptforgeError] = SearchError,
) -> Workers:
    """Return where jobs run; a cluster is joined, so that a wrong address is refused at once.

    Args:
        workers: Number of processes; None for one per usable core, here or in the cluster.
        cluster: Address of a Ray cluster; None for this machine.
        gpus: Whether each process of a cluster gets a GPU; on this machine, one process is the
            default then.
        wrong: The class of the error.

    Raises:
        OptforgeError: If the number cannot be used, or the cluster cannot be reached.

    Example:
        >>> choose_workers(2)
        2
    """
    if cluster is None:
        count = worker_count(1 if gpus and workers is None else workers, wrong)
        if count > (most := _MOST * usable_cores()):
            raise wrong(f"workers is {count}; here at most {most} may run, {_MOST} a core")
        return count
    if workers is None:
        return ClusterWorkers(cluster, cluster_room(cluster, gpus), gpus)
    count = worker_count(workers, wrong)
    if count == 0:
        raise wrong("workers is 0, but a cluster is given; give 1 or more, or no cluster")
    cluster_room(cluster, gpus)
    return ClusterWorkers(cluster, count, gpus, fixed=True)


def start_executor(factory: Factory, workers: Workers, limit: float = JOB_SECONDS) -> Executor:
    """Start worker processes, or use this process if no workers are requested.

    Args:
        factory: Builds the function that answers jobs, once in each process.
        workers: Worker processes; 0 for this process, where no job has a time limit.
        limit: Time limit of one job, in seconds.

    Example:
        >>> executor = start_executor(lambda: abs, workers=0)
        >>> executor.submit(1, -3)
        >>> executor.next().result
        3
    """
    if isinstance(workers, ClusterWorkers):
        count = workers.count if workers.fixed else None
        return ClusterPool(factory, workers.address, count, limit, gpus=workers.gpus)
    return WorkerPool(factory, workers, limit) if workers else InlineExecutor(factory)
