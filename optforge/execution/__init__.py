"""Where evaluations run: in this process or in local worker processes, behind one contract.

This room knows nothing of what is evaluated: a job and its result are any plain values.
"""

from __future__ import annotations

from optforge.execution.cores import usable_cores, worker_count
from optforge.execution.inline import InlineExecutor
from optforge.execution.protocol import Completed, Executor, Failed
from optforge.execution.start import JOB_SECONDS, start_executor
from optforge.execution.workers import WorkerPool

__all__ = [
    "JOB_SECONDS",
    "Completed",
    "Executor",
    "Failed",
    "InlineExecutor",
    "WorkerPool",
    "start_executor",
    "usable_cores",
    "worker_count",
]
