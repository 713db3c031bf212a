"""A task with some of its attributes changed: a point on the axes of a sweep."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from optforge.comparison.cells.task_attributes import BUDGET, SAMPLES, check_attributes
from optforge.errors import CompareError
from optforge.options import plain_value
from optforge.tasks import Task
from optforge.training.random_numbers import draws_random_numbers

_CACHED = ("splits", "hash")
_CHECKS = 20  # validations of a run whose task names no period


@dataclass(frozen=True)
class Variant:
    """A task of a comparison under a label.

    Args:
        label: The task's name and the changed attributes.
        task: The changed task.
        axes: The changed attributes by name.

    Example:
        >>> from optforge.tasks import load_task
        >>> variant = vary(load_task("digits_mlp"), {"batch_size": 32, "samples": 3200})
        >>> variant.label, variant.task.steps
        ('digits_mlp[batch_size=32]', 100)
    """

    label: str
    task: Task
    axes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def period(self) -> int:
        """Number of steps between validations of a run with a curve."""
        return self.task.evaluation_period or max(1, self.task.steps // _CHECKS)

    @cached_property
    def looks_at_memory(self) -> Counter[str]:
        """How many runs of each recipe had their memory measured in this process."""
        return Counter()

    @cached_property
    def random(self) -> bool:
        """Whether the model or the loss draws random numbers in training; determined by a trial."""
        return draws_random_numbers(self.task)


def vary(task: Task, attributes: Mapping[str, Any], shown: Sequence[str] | None = None) -> Variant:
    """Return a copy of a task with some attributes changed.

    The name stays the same, and so do the seeds: a larger batch sees the same examples in the same
    order.

    Args:
        task: The task.
        attributes: New values by name; ``samples`` sets the steps to samples over batch size.
        shown: Names of the attributes in the label; all but ``samples`` by default.

    Raises:
        CompareError: If the task has no such attribute, or the value is not valid for it.
    """
    attributes = {name: plain_value(value) for name, value in attributes.items()}
    check_attributes(task, attributes)
    own_data = bool(attributes.keys() - BUDGET)
    if not own_data:
        _ = task.splits  # built once, shared by all
    changed = copy.copy(task)
    for name, value in attributes.items():
        if name != SAMPLES:
            _set(changed, name, tuple(value) if isinstance(value, list) else value)
    if SAMPLES in attributes:
        _set(changed, "steps", max(1, round(attributes[SAMPLES] / changed.batch_size)))
    for name in _CACHED if own_data else _CACHED[1:]:
        vars(changed).pop(name, None)
    shown = [name for name in attributes if name != SAMPLES] if shown is None else shown
    changes = ",".join(f"{name}={_as_text(attributes[name])}" for name in shown)
    axes = {name: attributes[name] for name in shown}
    return Variant(f"{task.name}[{changes}]" if changes else task.name, changed, axes)


def _set(task: Task, name: str, value: Any) -> None:
    """Set an attribute of a copy, of a frozen dataclass too."""
    try:
        object.__setattr__(task, name, value)
    except AttributeError as error:
        raise CompareError(
            f"{name} of task {task.name!r} cannot be set ({error}), and a comparison varies it; "
            "make it a plain attribute"
        ) from error


def variants(
    tasks: Sequence[Task], axes: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any]
) -> tuple[Variant, ...]:
    """Return every task at every point of the axes.

    Args:
        tasks: The base tasks.
        axes: Values of each attribute, which are combined as a product.
        fixed: Attributes with the same value everywhere; labels do not name them.

    Raises:
        CompareError: If two variants would have the same label, or an axis has no values.
    """
    axes = {name: plain_value(values) for name, values in axes.items()}
    for name, values in axes.items():
        if not isinstance(values, list | tuple) or not values:
            raise CompareError(
                f"the axis {name!r} is {values!r}; give a list of values, "
                "as in batch_size = [16, 64]"
            )
    varied = []
    for task in tasks:
        for point in product(*axes.values()):
            values = dict(zip(axes, point, strict=True))
            shown = [name for name in values if name != SAMPLES]
            varied.append(vary(task, {**fixed, **values}, shown))
    labels = [variant.label for variant in varied]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise CompareError(f"two tasks are called {sorted(twice)[0]!r}; give them other names")
    return tuple(varied)


def _as_text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"
