"""The settings of a rule's parameter groups: which there are, and which values are allowed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from torch import Tensor

from optforge.analysis import Lifted
from optforge.errors import OptimizerError
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.settings import (
    CHOICE,
    COUNT,
    FINITE,
    FLAG,
    LENGTH,
    ONE_WAY,
    POSITIVE,
    RATE,
    Setting,
    as_float,
    or_none,
)

SETTINGS: Mapping[str, Setting] = {
    "lr": RATE,
    "peak_lr": POSITIVE,
    "schedule": FINITE,
    "foreach": CHOICE,
    "fused": CHOICE,
    "maximize": FLAG,
    "matrices": CHOICE,
    "total_steps": or_none(LENGTH),
    "step": COUNT,
}
_PEAK = Setting(
    "a finite number above 0, the peak of the rate; to begin at 0, let a scheduler or "
    "group['schedule'] warm up",
    POSITIVE.read,
)


def reads_clock(graph: RuleGraph) -> bool:
    """Return whether a rule reads the number of the step, or the share that is done."""
    return graph.reads("get_step") or graph.reads("get_progress")


def defaults_of(lifted: Lifted, lr: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rule's constants by name, with those that a user sets put in.

    Args:
        lifted: The rule.
        lr: Its rate, or None for its own.
        given: Other constants by name; ``betas`` stands for ``beta1``, ``beta2``, ...

    Raises:
        OptimizerError: For a name that the rule has not.
    """
    chosen = _without_betas(lifted, given)
    constants = {name: value for name, value in lifted.values.items() if name != "lr"}
    for name in chosen:
        if name not in constants:
            raise OptimizerError(f"unknown hyper-parameter {name!r}; {_allowed(constants)}")
    return {"lr": lifted.values["lr"] if lr is None else lr, **constants, **chosen}


def _without_betas(lifted: Lifted, constants: Mapping[str, Any]) -> dict[str, Any]:
    if "betas" not in constants:
        return dict(constants)
    names = [name for name in lifted.values if name.startswith("beta")]
    betas = constants["betas"]
    listed = isinstance(betas, Sequence) and not isinstance(betas, str)
    listed = listed or (isinstance(betas, numpy.ndarray | Tensor) and betas.ndim == 1)
    if not names or not listed or len(betas) != len(names):
        wanted = (
            f"{len(names)} numbers, for {', '.join(names)}" if names else "left unset: it has none"
        )
        raise OptimizerError(f"betas of this rule must be {wanted}, got {betas!r}")
    rest = {name: value for name, value in constants.items() if name != "betas"}
    return rest | dict(zip(names, betas, strict=True))


def _allowed(constants: Mapping[str, Any]) -> str:
    return f"this rule has {', '.join(('lr', *constants))}"


def peak_of(lr: Any) -> float:
    """Return the rate that is the peak of the schedule.

    Raises:
        OptimizerError: If it is not a positive finite number.
    """
    return as_float(_PEAK.plain("lr", lr))


def checked_settings(graph: RuleGraph, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a group as plain values.

    Names that look like misspelt ones are refused. Others pass: tools keep notes in groups.

    Raises:
        OptimizerError: Says the name, the value received and what is allowed.
    """
    values = graph.lifted.values
    if group["total_steps"] is None and graph.reads("get_progress"):
        raise OptimizerError(
            "total_steps=None, but this rule reads get_progress(), the share of the steps that "
            "are done; pass total_steps=N, the number of steps of the whole run"
        )
    settings = {**dict.fromkeys(values, FINITE), **SETTINGS}
    plain = {name: settings[name].plain(name, group[name]) for name in settings if name in group}
    ONE_WAY.check(plain)
    for name in group.keys() - settings.keys() - {"params"}:
        if close := difflib.get_close_matches(
            str(name), {*values, "schedule", "peak_lr"} - {"lr"}, 1, 0.85
        ):
            raise OptimizerError(
                f"unknown setting {name!r} of a group; did you mean {close[0]!r}? "
                f"{_allowed({n: 0 for n in values if n != 'lr'})}"
            )
    return plain
