"""Saved optimizers: the parts of a state dict, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optforge.errors import OptimizerError

StateDict = dict[str, Any]

# Group keys that only these have, to call a foreign state dict by its name.
_MARKS: Mapping[str, tuple[str, ...]] = {
    "optforge's ProgramOptimizer": ("fingerprint", "peak_lr"),
    "optforge's Lion": ("decay_mode", "momentum_dtype"),
    "torch's SGD": ("dampening", "nesterov"),
    "torch's RMSprop": ("alpha", "centered"),
    "torch's Adagrad": ("lr_decay", "initial_accumulator_value"),
    "torch's Adafactor": ("beta2_decay", "d"),
    "torch's Adam or AdamW": ("amsgrad", "betas"),
    "an optimizer like Adam": ("eps", "betas"),
    "another Lion": ("betas", "weight_decay"),
}


def name_of_source(group: Mapping[str, Any]) -> str:
    """Return what kind of optimizer a saved group comes from, as far as its keys show it.

    Example:
        >>> import torch
        >>> name_of_source(torch.optim.SGD([torch.zeros(1)]).param_groups[0])
        "torch's SGD"
    """
    return next(
        (name for name, keys in _MARKS.items() if set(keys) <= set(group)), "an unknown optimizer"
    )


OF_NO_ADAM = ("torch's SGD", "torch's RMSprop", "torch's Adagrad", "torch's Adafactor")


def parts_of(state_dict: Any) -> tuple[list[Mapping[str, Any]], Mapping[Any, Any]]:
    """Return the groups and the states of a state dict.

    Raises:
        OptimizerError: If it is none.
    """
    try:
        groups, states = list(state_dict["param_groups"]), state_dict["state"]
        if not isinstance(states, Mapping) or not all("params" in group for group in groups):
            raise TypeError(states)
        return groups, states
    except (KeyError, TypeError):
        got = list(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__
        raise OptimizerError(
            f"a state dict has 'state' and 'param_groups', as `optimizer.state_dict()` returns "
            f"them, got {got}. Is the optimizer one part of a larger checkpoint?"
        ) from None


def check_keys(groups: Sequence[Mapping[str, Any]], states: Mapping[Any, Any]) -> None:
    """Refuse states that belong to no parameter of the saved groups; they would be lost silently.

    Raises:
        OptimizerError: Names some of the keys, and what groups have in their place.
    """
    known = {key for group in groups for key in group["params"]}
    strays = [key for key, entry in states.items() if entry and key not in known]
    if strays:
        raise OptimizerError(
            f"the state dict has states for {strays[:3]!r}, and its groups have "
            f"{list(known)[:3]!r} as params, so nothing says whose they are; JSON, for one, makes "
            "strings of numbers: make the keys of 'state' those of 'params' again"
        )
