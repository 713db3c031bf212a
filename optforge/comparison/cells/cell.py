"""A cell is one training run: its inputs, the key of these inputs, and its results."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from optforge.tuning import Setting

_VERSION = 2  # another number, other keys: when what a run does changes
_KEY_DIGITS = 20


@dataclass(frozen=True)
class Cell:
    """One run, as plain values that can be sent to workers.

    Args:
        task: Label of the task's variant.
        recipe: Name of the recipe.
        setting: Hyper-parameters of the run.
        seed: Seed of initialization, data order and augmentation; the same for every optimizer.
        curve: Whether to validate at regular intervals.
        test: Whether to measure on test data after the last step.
        until: Stop at this validation loss; None: train to the end.
        extras: Further measurements after the last step, by name.
        start: Chain of earlier runs that provides the weights; empty to use the task's.
    """

    task: str
    recipe: str
    setting: Setting
    seed: int
    curve: bool = False
    test: bool = False
    until: float | None = None
    extras: tuple[str, ...] = ()
    start: tuple[Any, ...] = ()

    def key(self, task_hash: str, recipe_key: str, period: int, device: str = "cpu") -> str:
        """Return a key of twenty digits over all that decides the result; names and time do not.

        Args:
            task_hash: Hash of the task.
            recipe_key: Content key of the recipe.
            period: Number of steps between validations.
            device: Device on which it is trained; which of several GPUs does not matter.
        """
        content = {
            "version": _VERSION,
            "task": task_hash,
            "recipe": recipe_key,
            "setting": self.setting,
            "seed": self.seed,
            "test": self.test,
            "period": period if self.curve or self.until is not None else None,
            "until": self.until,
            "extras": self.extras,
            "start": self.start,
        }
        if (kind := device.partition(":")[0]) != "cpu":
            content["device"] = kind
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


@dataclass(frozen=True)
class CellResult:
    """Results of one run. Losses and metrics are NaN where they were not measured.

    Args:
        loss: Loss on validation data after the last step.
        metric: Metric on validation data after the last step.
        train_loss: Mean over the last tenth of the steps; NaN if the run did not get that far.
        test_loss: Loss on test data, if the cell requested it.
        test_metric: Metric on test data, if the cell requested it.
        diverged: Whether a number was not finite, or the training loss ended above twice its first
            value.
        steps: Number of steps; fewer than the budget if it diverged or reached its target.
        curve: Points of step, validation loss, validation metric, and seconds of training until
            then.
        step_ms: Milliseconds per step, without validations.
        seconds: Seconds of the whole cell.
        optimizer_bytes: Size of the optimizer's states in bytes.
        peak_mb: Growth of memory during training in MB. It is measured for the first runs on test
            data in a process; NaN where it was not measured or is unknown.
        extras: Further measurements by name.
        failed: Empty, or why there is no result: its process died, exceeded the time limit, or
            raised after the first step. Such a result is never stored in a table.
    """

    loss: float = math.nan
    metric: float = math.nan
    train_loss: float = math.nan
    test_loss: float = math.nan
    test_metric: float = math.nan
    diverged: bool = False
    steps: int = 0
    curve: tuple[tuple[float, ...], ...] = ()
    step_ms: float = math.nan
    seconds: float = math.nan
    optimizer_bytes: int = 0
    peak_mb: float = math.nan
    extras: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON-serializable values, without those not measured; infinities become words."""
        empty = asdict(CellResult())
        values = asdict(self)
        changed = {name: values[name] for name in values if not _same(values[name], empty[name])}
        return {name: _packed(value) for name, value in changed.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CellResult:
        """Read what :meth:`to_json` returned; unknown names, from later versions, are dropped.

        Raises:
            TypeError: If a value is of another kind than its field.

        Example:
            >>> outcome = CellResult(loss=math.inf, curve=((1, 0.5, 0.9, 0.1),))
            >>> CellResult.from_json(outcome.to_json()) == outcome
            True
        """
        known = {name: _unpacked(v) for name, v in values.items() if name in _FIELDS}
        for name, value in known.items():
            if not _is_of_kind(value, getattr(_EMPTY, name)):
                raise TypeError(f"{name} is {str(value)[:40]}")
        if "curve" in known:
            known["curve"] = tuple(tuple(point) for point in known["curve"])
        return cls(**known)


_FIELDS = set(CellResult.__dataclass_fields__)
_EMPTY = CellResult()
_POINT = 4  # numbers of a point of a curve
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return isinstance(default, float) and math.isnan(default)
    return value == default


def _is_of_kind(value: Any, default: Any) -> bool:
    """Return whether a value that was read may stand in the place of a default."""
    if isinstance(default, bool | str):
        return type(value) is type(default)
    if isinstance(default, int | float):
        kinds = (int, float) if isinstance(default, float) else (int,)
        return isinstance(value, kinds) and not isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, list) and all(map(_is_point, value))
    return isinstance(value, dict) and _are_numbers(list(value.values()))


def _is_point(value: Any) -> bool:
    return _are_numbers(value) and len(value) == _POINT


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(_is_of_kind(value, math.nan) for value in values)


def _packed(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [_packed(item) for item in value]
    if isinstance(value, dict):
        return {name: _packed(item) for name, item in value.items()}
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if isinstance(value, dict):
        return {name: _unpacked(item) for name, item in value.items()}
    return value
