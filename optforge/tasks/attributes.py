"""Tasks whose attributes are given when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optforge.errors import TaskError
from optforge.tasks.task import Task


def set_attributes(task: Task, kind: str, name: str, changes: Mapping[str, Any]) -> None:
    """Name a task and set attributes that its class has.

    Args:
        task: The task.
        kind: What it is, in words.
        name: Its name; the class's if empty.
        changes: Values of attributes.

    Raises:
        TaskError: If its class has no such attribute.
    """
    cls = type(task)
    for key, value in changes.items():
        if key.startswith("_") or not hasattr(cls, key) or callable(value):
            where = f"{cls.__module__}.{cls.__qualname__}"
            raise TaskError(f"{kind} has no attribute {key!r}; see help({where})")
        setattr(task, key, value)
    task.name = name or cls.name
