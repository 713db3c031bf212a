"""What a setting of a parameter group may be: numbers, flags and choices, made plain when given.

Whatever follows Python's number protocols is a number here: NumPy scalars, fractions, decimals,
arrays and tensors of one element. A setting is checked once, when it is given or loaded, and kept
as a float, int or bool; a tensor is kept as a tensor of its own without dimensions.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy
import torch
from torch import Tensor

from optforge.errors import OptimizerError

Number = float | Tensor


@dataclass(frozen=True)
class Setting:
    """What one setting may be.

    Args:
        allowed: The allowed values in words, after "must be".
        read: Returns the plain value; raises `TypeError`, `ValueError` or `OverflowError`.
    """

    allowed: str
    read: Callable[[Any], Any]

    def plain(self, name: str, value: Any) -> Any:
        """Return the value as it is kept.

        Raises:
            OptimizerError: Says what was received and what is allowed.

        Example:
            >>> RATE.plain("lr", numpy.float32(0.25)), COUNT.plain("seed", numpy.int64(3))
            (0.25, 3)
            >>> RATE.plain("lr", -1.0)
            Traceback (most recent call last):
            optforge.errors.OptimizerError: lr must be a finite number that is not negative, ...
        """
        try:
            return self.read(value)
        except (TypeError, ValueError, OverflowError):
            raise OptimizerError(f"{name} must be {self.allowed}, got {value!r}") from None


def number(value: Any) -> Number:
    """Return a real number as a float, or a tensor of one element as a 0-d tensor of its own.

    A tensor that requires gradients stays part of its graph.

    Raises:
        TypeError: If it is no real number. Truth values are none.
        ValueError: If it is a tensor or array of several elements, or a tensor without values.
    """
    if isinstance(value, Tensor):
        return _tensor_number(value)
    if isinstance(value, numpy.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise TypeError(value)
    return float(value)


def _tensor_number(value: Tensor) -> Tensor:
    is_number = value.numel() == 1 and not value.is_complex() and not value.is_meta
    if not is_number or value.dtype == torch.bool:
        raise ValueError(value)
    if value.requires_grad:
        return value.reshape(()) if value.dim() else value
    value = value.detach().clone().reshape(())
    return value if value.is_floating_point() else value.to(torch.float32)


def as_float(value: Any) -> float:
    """Return a number as a float; of a tensor that requires gradients too, without a warning."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def count(value: Any) -> int:
    """Return a whole number as an int.

    Raises:
        TypeError: If it is no whole number. Truth values are none.
    """
    if isinstance(value, bool | numpy.bool_):
        raise TypeError(value)
    return operator.index(value)


def flag(value: Any) -> bool:
    """Return a truth value as a bool.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(value, bool | numpy.bool_):
        return bool(value)
    raise TypeError(value)


def numbers_where(fits: Callable[[float], bool], allowed: str) -> Setting:
    """Return the setting of one finite number that passes a check."""

    def read(value: Any) -> Number:
        plain = number(value)
        if not (math.isfinite(as_float(plain)) and fits(as_float(plain))):
            raise ValueError(value)
        return plain

    return Setting(allowed, read)


def counts_from(lowest: int, highest: float, allowed: str) -> Setting:
    """Return the setting of a whole number in a range."""

    def read(value: Any) -> int:
        plain = count(value)
        if not lowest <= plain <= highest:
            raise ValueError(value)
        return plain

    return Setting(allowed, read)


def one_of(*allowed: Any) -> Setting:
    """Return the setting of one of some values."""

    def read(value: Any) -> Any:
        for other in allowed:
            if value is other or (isinstance(value, str) and value == other):
                return other
        raise ValueError(value)

    return Setting("one of " + ", ".join(map(repr, allowed)), read)


def or_none(setting: Setting) -> Setting:
    """Return a setting that may also be None."""
    return Setting(
        f"{setting.allowed}, or None", lambda value: None if value is None else setting.read(value)
    )


def pair_of(setting: Setting, allowed: str) -> Setting:
    """Return the setting of two values, as a tuple."""

    def read(value: Any) -> tuple[Any, Any]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(
            value, Sequence | numpy.ndarray | Tensor
        ):
            raise TypeError(value)
        first, second = map(setting.read, value)
        return first, second

    return Setting(allowed, read)


def _rate(value: Any) -> Number:
    """Read a rate; what schedules that end at 0 leave below it, by rounding, is 0."""
    plain = number(value)
    size = as_float(plain)
    if not (math.isfinite(size) and size > -_NOISE):
        raise ValueError(value)
    if size >= 0:
        return plain
    return torch.zeros_like(plain) if isinstance(plain, Tensor) else 0.0


_NOISE = 1e-12
FINITE = numbers_where(lambda value: True, "a finite number")
RATE = Setting("a finite number that is not negative", _rate)
POSITIVE = numbers_where(lambda value: value > 0, "a finite number above 0")
SHARE = numbers_where(lambda value: 0 <= value < 1, "a number of at least 0 and under 1")
BETAS = pair_of(SHARE, "two numbers, each at least 0 and under 1")
FLAG = Setting("True or False", flag)
CHOICE = Setting("True, False or None", or_none(FLAG).read)
COUNT = counts_from(0, 2**63 - 1, "an integer from 0 to 2**63 - 1")
LENGTH = counts_from(1, math.inf, "a whole number above 0")


@dataclass(frozen=True)
class Refusal:
    """Settings of one group that exclude each other.

    Args:
        clash: The values that clash, by name.
        reason: Why, and what to do.
    """

    clash: Mapping[str, Any]
    reason: str

    @property
    def options(self) -> str:
        """Return the settings as they are written in a call."""
        return ", ".join(f"{name}={value!r}" for name, value in self.clash.items())

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse a group that has all of them.

        Raises:
            OptimizerError: Names the settings and the reason.

        Example:
            >>> ONE_WAY.check({"foreach": True, "fused": True})
            Traceback (most recent call last):
            optforge.errors.OptimizerError: foreach=True, fused=True exclude each other: they ...
        """
        if all(group[name] == value for name, value in self.clash.items()):
            raise OptimizerError(f"{self.options} exclude each other: {self.reason}")


ONE_WAY = Refusal(
    {"foreach": True, "fused": True}, "they are two ways to run the same step; set one of them"
)
