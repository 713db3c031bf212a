"""The part of a task's hash that identifies its code, besides settings and data.

A shipped task is identified by its ``version``, which is raised by hand when its computation
changes. The text of its classes as of version 1 is pinned, so that hashes of finished runs stay the
same through every change that computes the same. A user's task is identified by its files.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

import numpy
from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks.content import UnknownContentError, cache_key_of, content_key
from optforge.tasks.source import layout_text, source_text

_HELD = (list, dict, set, frozenset, numpy.ndarray, Tensor)


def task_content(task: Any, classes: list[type], model: nn.Module) -> list[str]:
    """Return texts that change when the computation of a task changes.

    Args:
        task: The task.
        classes: Its class and the base classes.
        model: A fresh model of the task.

    Returns:
        For a shipped task, the pinned text of its classes. Otherwise its ``cache_key`` if it has
        one, or the digests of its files, of its model's files and of the functions it was given;
        plus the model's layout.

    Raises:
        TaskError: If it was not defined in a file, or was given something whose content cannot be
            read.
    """
    parts = {type(part) for part in model.modules()}
    parts = {part for part in parts if not part.__module__.startswith("torch.")}
    if _is_shipped(type(task)):
        return [*map(_shipped_text, classes), *sorted(map(_shipped_text, parts))]
    if key := cache_key_of(task) or cache_key_of(type(task)):
        return [layout_text(model), f"cache_key {key}"]
    try:
        keys = [content_key([*classes, *_given(task)]), *sorted(map(content_key, parts))]
    except UnknownContentError as error:
        raise TaskError(
            f"the runs of task {task.name!r} cannot be told from those of an edited one: it uses "
            f"{error}; set cache_key on the task, a text that you change whenever you change it"
        ) from error
    return [layout_text(model), *keys]


@lru_cache(1)
def pinned_sources() -> dict[str, str]:
    """Return the text of shipped tasks' classes, and of their models', as of version 1."""
    file = resources.files("optforge.tasks") / "pinned_sources.json"
    return json.loads(file.read_text(encoding="utf-8"))


def _shipped_text(cls: type) -> str:
    """Return the pinned text of a class; its source if foreign, its name if new."""
    name = cls.__qualname__
    if _is_shipped(cls):
        return pinned_sources().get(name, name)
    return source_text(cls) or name


def _is_shipped(cls: type) -> bool:
    return cls.__module__.startswith("optforge.")


def _given(task: Any) -> Iterator[Any]:
    """Yield what an instance holds besides plain settings: criteria, functions, arrays, lists."""
    for name, value in sorted(vars(task).items()):
        attribute = inspect.getattr_static(type(task), name, None)
        is_held = isinstance(value, _HELD) or is_dataclass(value)
        if name == "data" or isinstance(attribute, cached_property):
            continue
        if callable(value) or (is_held and not name.startswith("_")):
            yield name
            yield value
