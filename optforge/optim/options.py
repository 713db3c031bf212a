"""What a parameter group of Lion may ask for, and which wishes exclude each other."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError

DECAY_MODES = ("lr", "independent", "cautious")
NONFINITE = ("ignore", "skip_step", "zero", "propagate", "raise")
ROUNDINGS = (None, "nearest", "stochastic", "kahan")
MOMENTUM_DTYPES = (None, torch.float32, torch.bfloat16, "8bit")

Number = float | Tensor


def _one_of(allowed: tuple[Any, ...]) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(map(repr, allowed)), lambda value: any(
        value is other or (isinstance(value, str) and value == other) for other in allowed
    )


def _number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rate(value: Any) -> bool:
    return _number(value) and math.isfinite(float(value)) and float(value) >= 0


def _beta(value: Any) -> bool:
    return _number(value) and 0 <= float(value) < 1


_RATE = ("a finite number that is not negative", _rate)
_FLAG = ("True or False", lambda value: isinstance(value, bool))
_CHOICE = ("True, False or None", lambda value: value is None or isinstance(value, bool))

# Every key of a parameter group: what is allowed, in words and as a check.
KEYS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": _RATE,
    "betas": (
        "two numbers, each at least 0 and under 1",
        lambda value: (
            isinstance(value, tuple | list) and len(value) == 2 and all(map(_beta, value))
        ),
    ),
    "weight_decay": _RATE,
    "decay_mode": _one_of(DECAY_MODES),
    "cautious": _FLAG,
    "nonfinite": _one_of(NONFINITE),
    "momentum_dtype": _one_of(MOMENTUM_DTYPES),
    "rounding": _one_of(ROUNDINGS),
    "seed": (
        "an integer from 0 to 2**63 - 1",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63,
    ),
    "foreach": _CHOICE,
    "fused": _CHOICE,
    "maximize": _FLAG,
    "capturable": _FLAG,
    "differentiable": _FLAG,
    "reference_lr": (
        "None or a finite number above 0",
        lambda value: value is None or (_rate(value) and float(value) > 0),
    ),
}


# What other optimizers call these options, or what Lion has no counterpart for.
ALIASES: Mapping[str, str] = {
    "learning_rate": "use 'lr'",
    **dict.fromkeys(("beta", "beta1", "beta2", "b1", "b2"), "use 'betas', a pair"),
    **dict.fromkeys(("wd", "decay"), "use 'weight_decay'"),
    **dict.fromkeys(
        ("decoupled", "decoupled_weight_decay", "weight_decouple", "fixed_decay"),
        "use 'decay_mode': 'lr' for the paper's decay, 'independent' for one without the rate",
    ),
    "caution": "use 'cautious'",
    "use_triton": "use 'fused'",
    **dict.fromkeys(
        ("eps", "amsgrad"),
        "Lion has none; for the settings of an AdamW use `lion_from_adamw(groups).groups`",
    ),
}


def check_key(key: str) -> None:
    """Refuse a group key that is another optimizer's word for an option, or a misspelt one.

    Other unknown keys are the user's own and stay.

    Args:
        key: Of a parameter group that is added.

    Raises:
        OptimizerError: Names the right key and lists all.

    Example:
        >>> check_key("wd")
        Traceback (most recent call last):
        optforge.errors.OptimizerError: unknown group key 'wd'; use 'weight_decay'. Allowed are ...
    """
    if key in KEYS:
        return
    close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.8)
    advice = ALIASES.get(key) or (f"did you mean {close[0]!r}?" if close else None)
    if advice:
        end = "" if advice.endswith("?") else "."
        raise OptimizerError(
            f"unknown group key {key!r}; {advice}{end} Allowed are {', '.join(KEYS)}"
        )


@dataclass(frozen=True)
class Refusal:
    """Options of one group that exclude each other.

    Args:
        options: The group options, with the values that clash.
        reason: Why, and what to do.
        applies: Tells from a group whether it is meant.
    """

    options: str
    reason: str
    applies: Callable[[Mapping[str, Any]], bool]


REFUSALS = (
    Refusal(
        "foreach=True, fused=True",
        "they are two ways to run the same step; set one of them",
        lambda g: bool(g["foreach"] and g["fused"]),
    ),
    Refusal(
        "differentiable=True, foreach=True",
        "a differentiable step runs as the plain loop; leave foreach=None",
        lambda g: bool(g["differentiable"] and g["foreach"]),
    ),
    Refusal(
        "differentiable=True, fused=True",
        "a differentiable step runs as the plain loop; leave fused=None",
        lambda g: bool(g["differentiable"] and g["fused"]),
    ),
    Refusal(
        "differentiable=True, momentum_dtype=torch.bfloat16",
        "rounding has no derivative; leave momentum_dtype=None",
        lambda g: g["differentiable"] and g["momentum_dtype"] is torch.bfloat16,
    ),
    Refusal(
        "differentiable=True, momentum_dtype='8bit'",
        "rounding has no derivative; leave momentum_dtype=None",
        lambda g: g["differentiable"] and g["momentum_dtype"] == "8bit",
    ),
    Refusal(
        "differentiable=True, rounding='stochastic'",
        "rounding has no derivative; leave rounding=None and use float32 or float64 weights",
        lambda g: g["differentiable"] and g["rounding"] == "stochastic",
    ),
    Refusal(
        "differentiable=True, rounding='kahan'",
        "rounding has no derivative; leave rounding=None and use float32 or float64 weights",
        lambda g: g["differentiable"] and g["rounding"] == "kahan",
    ),
    Refusal(
        "capturable=True, nonfinite='raise'",
        "an error needs the values on the host; use 'ignore', 'skip_step', 'zero' or 'propagate'",
        lambda g: g["capturable"] and g["nonfinite"] == "raise",
    ),
    Refusal(
        "decay_mode='independent', lr=0, reference_lr=None",
        "independent decay is weight_decay * lr / reference_lr; give the peak rate, as lr or "
        "as reference_lr",
        lambda g: g["decay_mode"] == "independent" and g["reference_lr"] is None,
    ),
)


def check_group(group: Mapping[str, Any]) -> None:
    """Refuse values that are not allowed and options that exclude each other.

    Args:
        group: A parameter group with all keys of `KEYS`.

    Raises:
        OptimizerError: Says the key, the value received and what is allowed.

    Example:
        >>> group = dict(lr=1.0, betas=(0.9, 0.99), weight_decay=-1.0)
        >>> check_group(group)
        Traceback (most recent call last):
        optforge.errors.OptimizerError: weight_decay=-1.0, but it must be a finite number ...
    """
    for key, (allowed, check) in KEYS.items():
        if key in group and not check(group[key]):
            raise OptimizerError(f"{key}={group[key]!r}, but it must be {allowed}")
    if len(KEYS.keys() - group.keys()) == 0:
        for refusal in REFUSALS:
            if refusal.applies(group):
                raise OptimizerError(f"{refusal.options} exclude each other: {refusal.reason}")


def reference_lr(group: Mapping[str, Any]) -> float | None:
    """Give the peak rate of a group, also in mid-schedule; None where all its rates are 0."""
    rates = (group.get(name) for name in ("max_lr", "initial_lr", "lr"))
    return next((float(rate) for rate in rates if rate is not None and float(rate) > 0), None)


@dataclass(frozen=True)
class Rule:
    """What is fixed while a step is compiled; numbers that schedules change are no part of it.

    Args:
        nonfinite: The policy for elements of the gradient that are infinite or NaN.
        cautious: Whether only updates that agree with the gradient count.
        cautious_decay: Whether decay acts only where the update shrinks the weight too.
        maximize: Whether to climb.
        rounding: How 16-bit weights are written: ``nearest``, ``stochastic`` or ``kahan``.
        block: Elements that share a scale of 8-bit momentum; 0 means no 8-bit momentum.
        capturable: Whether the host must not ask for values.
    """

    nonfinite: str = "ignore"
    cautious: bool = False
    cautious_decay: bool = False
    maximize: bool = False
    rounding: str = "nearest"
    block: int = 0
    capturable: bool = False
