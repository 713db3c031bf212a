"""What enters a task's hash beside its settings and data: how it computes.

A shipped task is known by its ``version``, which is raised by hand when what it computes changes.
The text of its classes as of version 1 is pinned, so that hashes of finished runs stay as they
were through every change that computes the same. A task of one's own is known by its files.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

from torch import nn

from optforge.errors import TaskError
from optforge.tasks.content import UnknownContentError, cache_key_of, content_key
from optforge.tasks.source import layout_text, source_text


def task_content(task: Any, classes: list[type], model: nn.Module) -> list[str]:
    """Return texts that change when a task computes something else.

    Args:
        task: The task.
        classes: Its class and those that it is derived from.
        model: A fresh one of it.

    Returns:
        Of a shipped task the pinned text of its classes. Else its ``cache_key``, if it has one, or
        the digests of its files, of those of its model and of the functions it was given; and the
        model's layout.

    Raises:
        TaskError: If it was defined in no file, or was given something without readable content.
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
    """The pinned text of a class; of other packages its source, of new classes their name."""
    name = cls.__qualname__
    if _is_shipped(cls):
        return pinned_sources().get(name, name)
    return source_text(cls) or name


def _is_shipped(cls: type) -> bool:
    return cls.__module__.startswith("optforge.")


def _given(task: Any) -> Iterator[Any]:
    """Functions and criteria that an instance holds, as ``self.criterion = nn.HuberLoss(0.5)``."""
    for name, value in sorted(vars(task).items()):
        attribute = inspect.getattr_static(type(task), name, None)
        if name != "data" and callable(value) and not isinstance(attribute, cached_property):
            yield name
            yield value
