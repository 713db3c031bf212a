"""Execution of evaluations: in this process, in local worker processes, or on a cluster.

This room does not depend on what is evaluated: a job and its result are any plain values.
"""

from __future__ import annotations

from optforge.execution.cluster import ClusterPool
from optforge.execution.connection import cluster_room, leave_cluster
from optforge.execution.cores import usable_cores, worker_count
from optforge.execution.inline import InlineExecutor
from optforge.execution.protocol import Completed, Executor, Failed
from optforge.execution.start import (
    JOB_SECONDS,
    ClusterWorkers,
    Workers,
    choose_workers,
    process_count,
    start_executor,
)
from optforge.execution.workers import WorkerPool

__all__ = [
    "JOB_SECONDS",
    "ClusterPool",
    "ClusterWorkers",
    "Completed",
    "Executor",
    "Failed",
    "InlineExecutor",
    "WorkerPool",
    "Workers",
    "choose_workers",
    "cluster_room",
    "leave_cluster",
    "process_count",
    "start_executor",
    "usable_cores",
    "worker_count",
]
