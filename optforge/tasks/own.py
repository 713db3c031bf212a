"""A task of one's own, as opposed to a shipped one: what it uses beside its own classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from optforge.errors import TaskError
from optforge.tasks.content import UNTOLD, UnknowableError, content_of, is_installed, names_in
from optforge.tasks.source import layout_text

PLAIN = (bool, int, float, str, tuple)  # attributes of these kinds are settings of a task
# What trainers call, and what makes the instance; `data` is known by what it gives.
_CALLED = {"__init__", "model", "prepare", "augment", "loss", "metric"}


def own_content(task: object, model: nn.Module) -> list[str]:
    """What a task uses beyond the text of its classes: functions and constants of its module.

    Args:
        task: A task; of a shipped one nothing is said, since its hash is older than this.
        model: A fresh one of it.

    Returns:
        Nothing for a task whose class comes from a package; else the model's layout, and a hash
        over all that methods and parts of the model name, as far as it is no package's.

    Raises:
        TaskError: If that holds a value that cannot be told from others.
    """
    own = [cls for cls in type(task).__mro__ if not is_installed(cls.__module__)]
    if not own or own[0] is not type(task):
        return []
    ours = {type(part) for part in model.modules() if not is_installed(type(part).__module__)}
    used: list[Any] = [*_attributes(own), *_callables(task)]
    try:
        digits = [content_of(used, [task]), *sorted(content_of([cls]) for cls in ours)]
    except UnknowableError as error:
        raise TaskError(
            f"the task {getattr(task, 'name', task)!r} uses {error}; build it where it is used, "
            "or in data(), so that its runs can be told from those of an edited task"
        ) from error
    return [layout_text(model), *digits]


def _attributes(own: list[type]) -> Iterator[tuple[str, Any]]:
    """Attributes of a task's classes, but for what only ``data`` uses: its result is hashed."""
    names = {name for cls in own for name in vars(cls)}
    of_data = _reached(own, {"data"})
    wanted = _reached(own, (names - of_data) | (_CALLED & names)) - {"data"}
    for cls in own:
        for name in sorted(wanted & vars(cls).keys()):
            if _tells(name, vars(cls)[name]):
                yield name, vars(cls)[name]


def _tells(name: str, value: Any) -> bool:
    """Whatever is no public plain value, which are settings of the instance, nor Python's own."""
    if name in UNTOLD or (name.startswith("__") and name not in _CALLED):
        return False
    return name.startswith("_") or not isinstance(value, PLAIN)


def _reached(own: list[type], names: set[str]) -> set[str]:
    """These attributes and those that their functions name, those of these, and so on."""
    known = {name for cls in own for name in vars(cls)}
    found: set[str] = set()
    while new := (names & known) - found:
        found |= new
        values = [vars(cls)[name] for cls in own for name in new & vars(cls).keys()]
        names = {name for value in values for name in _named_by(value)}
    return found


def _named_by(value: Any, depth: int = 4) -> Iterator[str]:
    """Names and texts in a function, also in one that a decorator wraps or a descriptor holds."""
    if isinstance(value, FunctionType):
        yield from names_in(value.__code__)
        yield from (const for const in _constants(value.__code__) if isinstance(const, str))
        inside = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
    else:
        held = ("__func__", "func", "fget", "fset", "__wrapped__")
        inside = [inspect.getattr_static(value, name, None) for name in held]
    for one in inside if depth else ():
        if one is not None:
            yield from _named_by(one, depth - 1)


def _constants(code: CodeType) -> Iterator[Any]:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _constants(const)
        else:
            yield const


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _callables(task: object) -> Iterator[tuple[str, Any]]:
    """Functions and criteria that an instance holds, as ``self.criterion = nn.HuberLoss(0.5)``."""
    for name, value in sorted(vars(task).items()):
        kept = inspect.getattr_static(type(task), name, None)
        if name != "data" and callable(value) and not isinstance(kept, cached_property):
            yield name, value
