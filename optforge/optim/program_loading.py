"""Loading the state dict of a rule: only into the same rule, and without loss of digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from optforge.analysis import Lifted, fingerprint
from optforge.errors import OptimizerError
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
        if not set(state) <= names or (names and not state):
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


Shapes = Callable[[Tensor, Mapping[str, Any]], Mapping[str, tuple[int, ...] | None]]


def load_states(
    optimizer: Optimizer,
    load: Callable[[dict[str, Any]], None],
    state_dict: dict[str, Any],
    shapes_of: Shapes,
) -> None:
    """Load with the base class, which casts states to the weights' dtypes; then undo the cast.

    States of an array come in the dtype that the rule computes in; scalars as saved.

    Args:
        optimizer: The optimizer; its steps write in place, so it gets copies.
        load: The base class's `load_state_dict`, bound to it.
        state_dict: What is loaded.
        shapes_of: Gives the shape of each state of a parameter in a group, None for scalars.

    Raises:
        OptimizerError: If shapes are not those of the parameters; nothing is changed then.
    """
    seen: list[dict[str, Any]] = []

    def remember(_: Optimizer, given: dict[str, Any]) -> None:
        seen.append(given)  # as the user's own hooks have left it
        for number, parameter, group in _members(optimizer, given):
            entry = given["state"].get(number, {})
            check_entry(entry, number, parameter, shapes_of(parameter, group))

    handle = optimizer.register_load_state_dict_pre_hook(remember)
    try:
        load(state_dict)
    finally:
        handle.remove()
    for number, parameter, group in _members(optimizer, seen[-1]):
        shapes = shapes_of(parameter, group)
        for name, value in seen[-1]["state"].get(number, {}).items():
            dtype = value.dtype if shapes[name] is None else dtype_of(parameter)
            optimizer.state[parameter][name] = value.to(parameter.device, dtype, copy=True)


def _members(
    optimizer: Optimizer, state_dict: Mapping[str, Any]
) -> Iterator[tuple[Any, Tensor, Mapping[str, Any]]]:
    """Give the key of each saved parameter, the parameter in the same place and its saved group."""
    groups = [group for group in state_dict["param_groups"] for _ in group["params"]]
    pairs = pairs_of(optimizer, state_dict)
    for (number, parameter), group in zip(pairs, groups, strict=False):
        yield number, parameter, {"matrices": None, **group}


def check_entry(
    entry: Mapping[str, Any],
    number: Any,
    parameter: Tensor,
    shapes: Mapping[str, tuple[int, ...] | None],
) -> None:
    """Refuse a saved state whose tensors cannot be those of a parameter.

    Raises:
        OptimizerError: Names the state, what it is and what it must be.
    """
    if entry and set(entry) != set(shapes):
        raise OptimizerError(
            f"the state dict has {sorted(entry)} for parameter {number!r}, this rule keeps "
            f"{sorted(shapes)} for it; a parameter must be a hidden matrix, or none, in both: set "
            "the same `matrices` in its group, and the same marks (mark_matrix)"
        )
    for name, value in entry.items():
        shape = shapes[name] or ()
        fits = isinstance(value, Tensor) and tuple(value.shape) == shape
        if not fits or value.is_complex():
            got = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else value
            raise OptimizerError(
                f"the saved state {name!r} of parameter {number!r} has shape and dtype {got}; for "
                f"a parameter of shape {tuple(parameter.shape)} it must have the shape {shape} and "
                "be real; build the optimizer over the same parameters in the same order"
            )
