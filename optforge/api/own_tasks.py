"""Tasks as given to a verb: loaded by name, and checked before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from optforge.errors import TaskError
from optforge.jobs import Display
from optforge.tasks import Task, check_task, is_shipped, load_task, refuse_set_aside


def loaded(tasks: str | Path | Task | Sequence[str | Path | Task]) -> list[Task]:
    """Return tasks given by name, as ``file.py:Class`` or as objects; a single one becomes a list.

    Raises:
        TaskError: If one is neither, or cannot be loaded.

    Example:
        >>> [task.name for task in loaded("digits_mlp")]
        ['digits_mlp']
    """
    if isinstance(tasks, str | Task) or not isinstance(tasks, Iterable):
        tasks = [tasks]
    entries = [os.fspath(task) if isinstance(task, os.PathLike) else task for task in tasks]
    return [load_task(task) if isinstance(task, str) else _checked(task) for task in entries]


def _checked(task: object) -> Task:
    if isinstance(task, Task):
        return task
    is_class = isinstance(task, type) and issubclass(task, Task)
    advice = "make one of this class" if is_class else "give a name, file.py:Class, or a Task"
    raise TaskError(f"{task!r} is no task; {advice}")


def check_own(tasks: Sequence[Task], watch: Display, what: str = "a search") -> None:
    """Check the tasks that are not shipped, and announce the loading of data.

    Raises:
        TaskError: If one of them breaks its contract, or is set aside for final tables.
    """
    refuse_set_aside(tasks, what)
    watch.say(f"Reading the data of {', '.join(task.name for task in tasks)}")
    for task in tasks:
        if not is_shipped(task):
            check_task(task)


def check_run_tasks(given: Sequence[Task], tasks: Sequence[Task]) -> None:
    """Check that the given tasks belong to the run.

    Raises:
        TaskError: If the run has no task of that name.
    """
    names = [task.name for task in tasks]
    for task in given:
        if task.name not in names:
            raise TaskError(
                f"the run has no task {task.name!r}; it was made with {', '.join(names)}"
            )
