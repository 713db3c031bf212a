"""The settings of a rule's parameter groups: which there are, and which values are allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from optforge.analysis import Lifted
from optforge.errors import OptimizerError
from optforge.optim.program_graph import Graph

_EITHER = (True, False, None)
FLAGS = {
    "foreach": _EITHER,
    "fused": _EITHER,
    "maximize": (True, False),
    "matrices": _EITHER,
}


def reads_clock(graph: Graph) -> bool:
    """Return whether a rule reads the number of the step, or the share that is done."""
    return graph.reads("get_step") or graph.reads("get_progress")


def defaults_of(lifted: Lifted, lr: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the rule's constants by name, with those that a user sets put in.

    Args:
        lifted: The rule.
        lr: Its rate, or None for its own.
        given: Other constants by name; ``betas`` stands for ``beta1``, ``beta2``, ...

    Raises:
        OptimizerError: For a name that the rule has not.
    """
    given = _without_betas(lifted, given)
    own = {name: value for name, value in lifted.values.items() if name != "lr"}
    for name in given:
        if name not in own:
            raise OptimizerError(f"unknown hyper-parameter {name!r}; {_allowed(own)}")
    return {"lr": lifted.values["lr"] if lr is None else lr, **own, **given}


def _without_betas(lifted: Lifted, given: Mapping[str, Any]) -> dict[str, Any]:
    if "betas" not in given:
        return dict(given)
    names = [name for name in lifted.values if name.startswith("beta")]
    betas = given["betas"]
    if not names or not isinstance(betas, tuple | list) or len(betas) != len(names):
        wanted = (
            f"{len(names)} numbers, for {', '.join(names)}" if names else "not set: it has none"
        )
        raise OptimizerError(f"betas={betas!r}, but for this rule they must be {wanted}")
    rest = {name: value for name, value in given.items() if name != "betas"}
    return rest | dict(zip(names, betas, strict=True))


def _allowed(own: Mapping[str, Any]) -> str:
    return f"this rule has {', '.join(('lr', *own))}"


def peak_of(lr: Any) -> float:
    """Give the rate that is the peak of the schedule.

    Raises:
        OptimizerError: If it is not a positive finite number.
    """
    if not _is_number(lr) or not math.isfinite(float(lr)) or float(lr) <= 0:
        raise OptimizerError(
            f"lr={lr!r}, but the rate of a rule must be a finite number above 0; to begin at 0, "
            "let a scheduler or group['schedule'] warm up"
        )
    return float(lr)


def check_group(graph: Graph, group: Mapping[str, Any]) -> None:
    """Refuse values of a group that are not allowed, and names that look like misspelt ones.

    Other names pass: tools keep notes of their own in groups.

    Raises:
        OptimizerError: Says the name, the value received and what is allowed.
    """
    lifted = graph.lifted
    names = {*lifted.values, "schedule", "peak_lr"}
    _check_total(graph, group["total_steps"])
    for name in sorted(names & group.keys()):
        if not _is_number(group[name]) or not math.isfinite(float(group[name])):
            raise OptimizerError(f"{name}={group[name]!r}, but it must be a finite number")
    for name, values in FLAGS.items():
        if not any(group[name] is value for value in values):
            raise OptimizerError(f"{name}={group[name]!r}, but it must be one of {values}")
    if group["foreach"] and group["fused"]:
        raise OptimizerError("foreach=True, fused=True exclude each other; set one of them")
    for name in group.keys() - names - FLAGS.keys() - {"params", "step", "total_steps"}:
        if close := difflib.get_close_matches(str(name), names - {"lr"}, 1, 0.85):
            raise OptimizerError(
                f"unknown setting {name!r} of a group; did you mean {close[0]!r}? "
                f"{_allowed({n: 0 for n in lifted.values if n != 'lr'})}"
            )


def _check_total(graph: Graph, total: Any) -> None:
    if total is None and graph.reads("get_progress"):
        raise OptimizerError(
            "total_steps=None, but this rule reads get_progress(), the share of the steps that "
            "are done; pass total_steps=N, the number of steps of the whole run"
        )
    is_count = isinstance(total, int) and not isinstance(total, bool) and total > 0
    if total is not None and not is_count:
        raise OptimizerError(
            f"total_steps={total!r}, but it must be a whole number above 0, or None"
        )


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, int | float) and not isinstance(value, bool)
