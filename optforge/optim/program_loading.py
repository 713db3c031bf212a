"""Loading the state dict of a rule: only into the same rule, and without loss of digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optforge.analysis import Lifted, fingerprint
from optforge.errors import OptimizerError
from optforge.language import Kind
from optforge.optim.program_values import dtype_of
from optforge.optim.state import pairs_of


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
    optimizer: Optimizer,
    load: Callable[[dict[str, Any]], None],
    state_dict: dict[str, Any],
    kinds: Mapping[str, int],
) -> None:
    """Load with the base class, which casts states to the weights' dtypes; then undo the cast.

    States of a tree or an array come in the dtype that the rule computes in; scalars as saved.

    Args:
        optimizer: The optimizer; its steps write in place, so it gets copies.
        load: The base class's `load_state_dict`, bound to it.
        state_dict: What is loaded.
        kinds: What each state of the rule holds, by name.

    Raises:
        OptimizerError: If shapes are not those of the parameters; nothing is changed then.
    """
    seen: list[dict[str, Any]] = []

    def remember(_: Optimizer, given: dict[str, Any]) -> None:
        seen.append(given)  # as the user's own hooks have left it
        for number, parameter in pairs_of(optimizer, given):
            check_entry(given["state"].get(number, {}), number, parameter, kinds)

    handle = optimizer.register_load_state_dict_pre_hook(remember)
    try:
        load(state_dict)
    finally:
        handle.remove()
    for number, parameter in pairs_of(optimizer, seen[-1]):
        for name, value in seen[-1]["state"].get(number, {}).items():
            dtype = value.dtype if kinds[name] == Kind.SCALAR else dtype_of(parameter)
            optimizer.state[parameter][name] = value.to(parameter.device, dtype, copy=True)


def check_entry(
    entry: Mapping[str, Any], number: Any, parameter: Tensor, kinds: Mapping[str, int]
) -> None:
    """Refuse a saved state whose tensors cannot be those of a parameter.

    Raises:
        OptimizerError: Names the state, what it is and what it must be.
    """
    for name, value in entry.items():
        shape = tuple(parameter.shape) if kinds[name] == Kind.TREE else ()
        fits = isinstance(value, Tensor) and tuple(value.shape) == shape
        if not fits or value.is_complex():
            got = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else value
            raise OptimizerError(
                f"the saved state {name!r} of parameter {number!r} has shape and dtype {got}; for "
                f"a parameter of shape {tuple(parameter.shape)} it must have the shape {shape} and "
                "be real; build the optimizer over the same parameters in the same order"
            )
