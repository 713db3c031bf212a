"""Tasks as given to a verb: loaded by name, and checked before any work."""

from __future__ import annotations

from collections.abc import Sequence

from optforge.errors import TaskError
from optforge.jobs import Display
from optforge.tasks import TASKS, Task, check_task, load_task


def loaded(tasks: str | Task | Sequence[str | Task]) -> list[Task]:
    """Return tasks given by name, as ``file.py:Class`` or as objects; a single one becomes a list.

    Example:
        >>> [task.name for task in loaded("digits_mlp")]
        ['digits_mlp']
    """
    several = [tasks] if isinstance(tasks, str | Task) else tasks
    return [load_task(task) if isinstance(task, str) else task for task in several]


def check_own(tasks: Sequence[Task], watch: Display) -> None:
    """Check the tasks that are not shipped, and announce the loading of data.

    Raises:
        TaskError: If one of them breaks its contract.
    """
    watch.say(f"Reading the data of {', '.join(task.name for task in tasks)}")
    for task in tasks:
        if type(task) is not TASKS.get(task.name):
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
