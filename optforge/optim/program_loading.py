"""Loading the state dict of a rule: only into the same rule, and without loss of digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optforge.analysis import Lifted, fingerprint
from optforge.errors import OptimizerError


def structure_of(lifted: Lifted) -> str:
    """Give the fingerprint of a rule, whatever the values of its hyper-parameters are.

    Example:
        >>> from optforge.analysis import lift
        >>> from optforge.language import load_rule
        >>> own = lift(load_rule("adamw"))
        >>> structure_of(own) == structure_of(lift(own.with_values({"beta1": 0.8})))
        True
        >>> structure_of(own) == structure_of(lift(load_rule("nadam")))
        False
    """
    fixed = {name: 2.0 + number for number, name in enumerate(lifted.values)}
    return fingerprint(lifted.with_values(fixed))


def check_state_dict(state_dict: Mapping[str, Any], structure: str, lifted: Lifted) -> None:
    """Refuse what another rule saved.

    Raises:
        OptimizerError: If states have other names, or the rule that saved is not this one.
    """
    names = set(lifted.program.states)
    for state in state_dict["state"].values():
        if set(state) != names:
            raise OptimizerError(
                f"the state dict has {sorted(state)} for a parameter, this rule keeps "
                f"{sorted(names)}; load it into an optimizer with the rule that saved it"
            )
    for group in state_dict["param_groups"]:
        if (saved := group.get("fingerprint")) != structure:
            raise OptimizerError(
                f"the state dict was saved by a rule with the fingerprint {saved}, this rule has "
                f"{structure} (values of hyper-parameters do not count); load it into an "
                "optimizer with the rule that saved it"
            )


def load_states(
    optimizer: Optimizer, load: Callable[[dict[str, Any]], None], state_dict: dict[str, Any]
) -> None:
    """Load with the base class, which casts states to the weights' dtypes; then undo the cast.

    Args:
        optimizer: The optimizer; its steps write in place, so it gets copies.
        load: The base class's `load_state_dict`, bound to it.
        state_dict: What is loaded.
    """
    seen: list[dict[str, Any]] = []
    handle = optimizer.register_load_state_dict_pre_hook(  # as the user's own hooks have left it
        lambda _, given: seen.append(given)
    )
    try:
        load(state_dict)
    finally:
        handle.remove()
    numbers = chain.from_iterable(group["params"] for group in seen[-1]["param_groups"])
    parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    for number, parameter in zip(numbers, parameters, strict=True):
        for name, value in seen[-1]["state"].get(number, {}).items():
            if isinstance(value, Tensor):
                optimizer.state[parameter][name] = value.to(device=parameter.device, copy=True)
