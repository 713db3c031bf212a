"""The attributes of a task that may be changed from outside, and their allowed values."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from optforge.errors import CompareError
from optforge.tasks import Task
from optforge.tasks.task import MOST_EXAMPLES

SAMPLES = "samples"  # no attribute of a task: steps times batch size, held fixed over batch sizes
_COUNT = f"a whole number of at least 1, and at most {MOST_EXAMPLES:,}"
_KINDS = (bool, int, float, str, tuple, list)
# A name decides seeds, a hash follows from the content, the others stand for code.
_NEVER = {"name", "hash", "version", "cache_key"}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_EXAMPLES


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floating-point ones
        return False


_BUDGET: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "steps": (_whole, _COUNT),
    "batch_size": (_whole, _COUNT),
    SAMPLES: (_whole, f"{_COUNT}; it is steps x batch_size"),
    "evaluation_period": (lambda x: x is None or _whole(x), _COUNT),
    "warmup": (lambda x: _number(x) and 0 <= x <= 1, "a share of the steps from 0 to 1"),
    "target": (lambda x: x is None or _number(x), "a validation loss, a finite number"),
}
BUDGET = frozenset(_BUDGET)  # neither data nor model depend on these


def check_attributes(task: Task, values: Mapping[str, Any]) -> None:
    """Reject unknown attributes, values that are not plain, and budgets that cannot train anything.

    Args:
        task: The task before the change.
        values: New values by name.

    Raises:
        CompareError: If a value is rejected; the message names what was received and what is
            allowed.

    Example:
        >>> from optforge.tasks import load_task
        >>> check_attributes(load_task("digits_mlp"), {"steps": 0})
        Traceback (most recent call last):
            ...
        optforge.errors.CompareError: steps of task 'digits_mlp' is 0; it must be a whole number ...
    """
    for name, value in values.items():
        if name in _BUDGET:
            allowed, allowed_values = _BUDGET[name]
            if not allowed(value):
                raise CompareError(
                    f"{name} of task {task.name!r} is {value!r}; it must be {allowed_values}"
                )
        else:
            _check_attribute(task, name, value)


def _check_attribute(task: Task, name: str, value: Any) -> None:
    # Looked up without calling properties: `splits` builds the data.
    current = inspect.getattr_static(task, name, inspect.Parameter.empty)
    if (
        name in _NEVER
        or name.startswith("_")
        or not (current is None or isinstance(current, _KINDS))
    ):
        raise CompareError(
            f"task {task.name!r} has no plain attribute {name!r} to change; it has "
            f"{', '.join(_plain(task))}, and {SAMPLES} stands for steps x batch_size"
        )
    if not _same_kind(current, value):
        raise CompareError(
            f"{name} of task {task.name!r} is {current!r} and was to be {value!r}; "
            f"give {_kind_name(current)} as well"
        )


def _plain(task: Task) -> list[str]:
    kinds = {name: inspect.getattr_static(task, name) for name in {*dir(type(task)), *vars(task)}}
    plain = {name for name, value in kinds.items() if isinstance(value, _KINDS)}
    names = (plain | BUDGET) - {SAMPLES} - _NEVER
    return sorted(name for name in names if not name.startswith("_"))


def _same_kind(current: Any, value: Any) -> bool:
    if current is None:
        return value is None or isinstance(value, _KINDS)
    if isinstance(current, bool) or isinstance(value, bool):
        return isinstance(current, bool) and isinstance(value, bool)
    if isinstance(current, int | float):
        return isinstance(value, int | float) and _is_finite(value)
    return isinstance(value, str if isinstance(current, str) else tuple | list)


def _kind_name(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a finite number"
    return "a text" if isinstance(value, str) else "several values"
