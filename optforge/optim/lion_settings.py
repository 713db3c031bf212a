"""What a parameter group of Lion may ask for, and which wishes exclude each other."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from optforge.errors import OptimizerError
from optforge.optim.settings import (
    BETAS,
    CHOICE,
    COUNT,
    FLAG,
    ONE_WAY,
    POSITIVE,
    RATE,
    Refusal,
    Setting,
    as_float,
    one_of,
    or_none,
)
from optforge.optim.steps.layout import has_shape_only

DECAY_MODES = ("lr", "independent", "cautious")
NONFINITE = ("ignore", "skip_step", "zero", "propagate", "raise")
ROUNDINGS = (None, "nearest", "stochastic", "kahan")
MOMENTUM_DTYPES = (None, torch.float32, torch.bfloat16, "8bit")

# Every key of a parameter group.
KEYS: Mapping[str, Setting] = {
    "lr": RATE,
    "betas": BETAS,
    "weight_decay": RATE,
    "decay_mode": one_of(*DECAY_MODES),
    "cautious": FLAG,
    "nonfinite": one_of(*NONFINITE),
    "momentum_dtype": one_of(*MOMENTUM_DTYPES),
    "rounding": one_of(*ROUNDINGS),
    "seed": COUNT,
    "foreach": CHOICE,
    "fused": CHOICE,
    "maximize": FLAG,
    "capturable": FLAG,
    "differentiable": FLAG,
    "reference_lr": or_none(POSITIVE),
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
    if key in KEYS or not isinstance(key, str):
        return
    close = [] if _is_made_of_one(key) else difflib.get_close_matches(key, KEYS, n=1, cutoff=0.8)
    advice = ALIASES.get(key) or (f"did you mean {close[0]!r}?" if close else None)
    if advice:
        end = "" if advice.endswith("?") else "."
        raise OptimizerError(
            f"unknown group key {key!r}; {advice}{end} Allowed are {', '.join(KEYS)}"
        )


def _is_made_of_one(key: str) -> bool:
    """Return whether a key has an option for a word, or begins one, as users' notes do."""
    return len(key) < 4 or any(
        f"_{option}_" in f"_{key}_" or option.startswith(f"{key}_") for option in KEYS
    )


_LOOP = "a differentiable step runs as the plain loop; leave"
_NO_DERIVATIVE = "rounding has no derivative; leave"
_WIDE = f"{_NO_DERIVATIVE} rounding=None and use float32 or float64 weights"
REFUSALS = (
    ONE_WAY,
    *(
        Refusal({"differentiable": True, key: value}, reason)
        for key, value, reason in (
            ("foreach", True, f"{_LOOP} foreach=None"),
            ("fused", True, f"{_LOOP} fused=None"),
            ("momentum_dtype", torch.bfloat16, f"{_NO_DERIVATIVE} momentum_dtype=None"),
            ("momentum_dtype", "8bit", f"{_NO_DERIVATIVE} momentum_dtype=None"),
            ("rounding", "stochastic", _WIDE),
            ("rounding", "kahan", _WIDE),
        )
    ),
    Refusal(
        {"capturable": True, "nonfinite": "raise"},
        "an error needs the values on the host; use 'ignore', 'skip_step', 'zero' or 'propagate'",
    ),
    Refusal(
        {"decay_mode": "independent", "lr": 0, "reference_lr": None},
        "independent decay is weight_decay * lr / reference_lr; give the peak rate, as lr or "
        "as reference_lr",
    ),
)


def checked_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a group as plain values.

    Args:
        group: A parameter group with all keys of `KEYS`.

    Raises:
        OptimizerError: For values that are not allowed and options that exclude each other.

    Example:
        >>> from optforge.optim import Lion
        >>> group = Lion([torch.zeros(1)]).param_groups[0]
        >>> checked_settings({**group, "weight_decay": -1.0})
        Traceback (most recent call last):
        optforge.errors.OptimizerError: weight_decay must be a finite number that is not ...
    """
    plain = {key: setting.plain(key, group[key]) for key, setting in KEYS.items()}
    if plain["reference_lr"] is None:
        plain["reference_lr"] = reference_lr({**group, **plain})
    for refusal in REFUSALS:
        refusal.check(plain)
    return plain


def reference_lr(group: Mapping[str, Any]) -> float | None:
    """Return the peak rate of a group, also in mid-schedule; None where all its rates are 0."""
    rates = (group.get(name) for name in ("max_lr", "initial_lr", "lr"))
    return next((as_float(rate) for rate in rates if rate is not None and as_float(rate) > 0), None)


@dataclass(frozen=True)
class StepOptions:
    """What is fixed while a step is compiled; numbers that schedules change are no part of it.

    Args:
        formula: The three lines of `optforge.optim.lion`.
        nonfinite: The policy for elements of the gradient that are infinite or NaN.
        cautious: Whether only updates that agree with the gradient count.
        cautious_decay: Whether decay acts only where the update shrinks the weight too.
        maximize: Whether to climb.
        rounding: How 16-bit weights are written: ``nearest``, ``stochastic`` or ``kahan``.
        capturable: Whether the host must not ask for values.
    """

    formula: Callable[..., Any]
    nonfinite: str = "ignore"
    cautious: bool = False
    cautious_decay: bool = False
    maximize: bool = False
    rounding: str = "nearest"
    capturable: bool = False


def stays_on_device(group: Mapping[str, Any]) -> bool:
    """Return whether the host must not ask for values: CUDA graphs, `torch.compile`, dry runs."""
    return group["capturable"] or torch.compiler.is_compiling() or has_no_values(group)


def has_no_values(group: Mapping[str, Any]) -> bool:
    """Return whether parameters have shapes only: on the meta device, or fake."""
    if torch.compiler.is_compiling():
        return False
    return any(map(has_shape_only, group["params"][:1]))


def options_of(group: Mapping[str, Any], formula: Callable[..., Any]) -> StepOptions:
    """Return what is fixed in a group's step."""
    return StepOptions(
        formula=formula,
        nonfinite=group["nonfinite"],
        cautious=group["cautious"],
        cautious_decay=group["decay_mode"] == "cautious",
        maximize=group["maximize"],
        rounding=group["rounding"] or "stochastic",
        capturable=group["capturable"] or has_no_values(group),
    )


STRONG_DECAY = 0.1  # of each weight in each step: half of it is gone after seven


def warn_of_strong_decay(group: Mapping[str, Any]) -> None:
    """Warn where independent decay has a number that is meant for decay times the rate."""
    decay, highest = as_float(group["weight_decay"]), as_float(group.get("max_lr") or 0.0)
    if group["decay_mode"] != "independent" or not decay:
        return
    if highest > 1.01 * as_float(group["reference_lr"]):
        warnings.warn(
            f"the scheduler's max_lr={highest:g} is above "
            f"reference_lr={as_float(group['reference_lr']):g}, the rate of the constructor, so at "
            "its peak decay is as many times stronger than weight_decay says; set "
            "group['reference_lr'] to max_lr",
            stacklevel=4,
        )
    if decay >= STRONG_DECAY:
        warnings.warn(
            f"weight_decay={decay:g} with decay_mode='independent' removes this "
            "share of every weight in every step at the peak rate, and sets weights to nearly zero "
            "within a few steps. For what decay_mode='lr' does with it, give lr * weight_decay",
            stacklevel=4,
        )
