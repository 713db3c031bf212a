"""Tasks: data + model + loss + metric + budget, free of any optimizer.

Example:
    >>> from optforge.tasks import PROXY_TASKS, load_task
    >>> load_task(PROXY_TASKS[0]).name
    'mnist_mlp'
"""

from __future__ import annotations

from optforge.tasks.contract import check_task, has_metric, users_code
from optforge.tasks.draws import augmented, batch_order, initial_model
from optforge.tasks.ladder.set_aside import refuse_set_aside, set_aside_names
from optforge.tasks.registry import (
    FAMILIES,
    HELD_OUT_TASK,
    PROXY_TASKS,
    TASKS,
    family_task_names,
    find_tasks,
    is_shipped,
    ladder_task_names,
    load_task,
    task_names,
)
from optforge.tasks.schedule import Schedule, schedule
from optforge.tasks.splits import Data, Split
from optforge.tasks.task import Task

__all__ = [
    "FAMILIES",
    "HELD_OUT_TASK",
    "PROXY_TASKS",
    "TASKS",
    "Data",
    "Schedule",
    "Split",
    "Task",
    "augmented",
    "batch_order",
    "check_task",
    "has_metric",
    "family_task_names",
    "find_tasks",
    "initial_model",
    "is_shipped",
    "ladder_task_names",
    "load_task",
    "refuse_set_aside",
    "schedule",
    "set_aside_names",
    "task_names",
    "users_code",
]
