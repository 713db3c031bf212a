"""The user's own tasks, loaded from a file: ``file.py:Class``."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cloudpickle

from optforge.errors import USERS_ERRORS, OptforgeError, TaskError, one_line
from optforge.files import split_class
from optforge.tasks.task import Task


def is_place(name: str) -> bool:
    """Return whether a name denotes a file rather than a shipped task.

    Example:
        >>> is_place("tasks/mine.py:Spirals"), is_place("mnist_mlp")
        (True, False)
    """
    return ":" in name or name.endswith(".py")


def task_from_file(place: str) -> Task:
    """Create the task that a class in a file describes; the file is executed as on import.

    Args:
        place: ``file.py:Class``.

    Returns:
        A new instance.

    Raises:
        TaskError: If there is no such file or class, or one of them fails.
    """
    file, name = split_class(place)
    module = run_file(Path(file), "task", TaskError)
    task_class = getattr(module, name, None) if name else None
    if not (isinstance(task_class, type) and issubclass(task_class, Task)):
        raise TaskError(_no_class(file, name, task_class, module))
    try:
        return task_class()
    except USERS_ERRORS as error:
        raise TaskError(
            f"the task {place} cannot be made: {one_line(error)}; a task is made without arguments "
            "and has the methods data() and model()"
        ) from error


def run_file(path: Path, kind: str, wrong: type[OptforgeError]) -> ModuleType:
    """Execute a file once per content, and make its definitions picklable by value for workers.

    Args:
        path: A Python file.
        kind: Kind of thing it describes, for the name of the module and for errors.
        wrong: Class of the error to raise.

    Raises:
        OptforgeError: If the file cannot be read or its execution fails.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # the second for a name that holds a NUL
        reason = getattr(error, "strerror", None) or error
        raise wrong(f"the {kind} file {path} cannot be read: {reason}") from None
    where = path.resolve()
    digest = hashlib.sha256(bytes(where) + b"\0" + content).hexdigest()[:12]
    name = f"optforge_{kind}_{digest}"
    if str(where.parent) not in sys.path:  # for what it imports from beside it; workers get it too
        sys.path.append(str(where.parent))
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, where)
    if spec is None or spec.loader is None:
        raise wrong(f"{path} is not a Python file; give file.py:Class")
    try:
        module = importlib.util.module_from_spec(spec)  # which loads a compiled one
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except USERS_ERRORS as error:
        sys.modules.pop(name, None)
        raise wrong(f"the {kind} file {path} cannot be run: {one_line(error)}") from error
    cloudpickle.register_pickle_by_value(module)
    return module


def _no_class(file: str, name: str, named: object, module: ModuleType) -> str:
    classes = [
        f"{file}:{key}"
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Task)
        and value.__module__ == module.__name__
    ]
    there = f"it has {', '.join(classes)}" if classes else "derive a class from optforge.Task there"
    if not name:
        return f"name the class in {file}, as in file.py:Class; {there}"
    what = "is not a class derived from optforge.Task" if named is not None else "does not exist"
    return f"{name} in {file} {what}; {there}"
