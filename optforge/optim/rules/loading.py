"""Loading the state dict of a rule: only into the same rule, and without loss of digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from optforge.analysis import Lifted, fingerprint
from optforge.errors import OptimizerError
from optforge.optim.checks import check_saved
from optforge.optim.saved import name_of_source


def structure_of(lifted: Lifted) -> str:
    """Return the fingerprint of a rule, whatever the values of its hyper-parameters are.

    Example:
        >>> from optforge.analysis import lift
        >>> from optforge.language import load_rule
        >>> lifted = lift(load_rule("adamw"))
        >>> structure_of(lifted) == structure_of(lift(lifted.with_values({"beta1": 0.8})))
        True
        >>> structure_of(lifted) == structure_of(lift(load_rule("nadam")))
        False
    """
    fixed = {name: 2.0 + number for number, name in enumerate(lifted.values)}
    return fingerprint(lifted.with_values(fixed))


def check_source(
    groups: Sequence[Mapping[str, Any]], states: Mapping[Any, Any], structure: str, lifted: Lifted
) -> None:
    """Refuse what another rule or optimizer saved.

    Args:
        groups: The saved groups that have parameters.
        states: The saved states by key.
        structure: From `structure_of` this rule.
        lifted: The rule.

    Raises:
        OptimizerError: If states have other names, or the rule that saved is not this one.
    """
    names = set(lifted.program.states)
    for state in states.values():
        if not set(state or ()) <= names:  # empty, or None in shards, before a first step
            raise OptimizerError(
                f"the state dict has {sorted(state)} for a parameter, this rule keeps "
                f"{sorted(names)}; load it into an optimizer with the rule that saved it"
            )
    for group in groups:
        if "fingerprint" not in group:
            raise OptimizerError(
                f"the state dict is of {name_of_source(group)}, not of a ProgramOptimizer: its "
                f"groups have {sorted(group)}; start without it, or take its settings by "
                "ProgramOptimizer.from_adamw"
            )
        if (saved := group["fingerprint"]) != structure:
            raise OptimizerError(
                f"the state dict was saved by a rule with the fingerprint {saved}, this rule has "
                f"{structure} (values of hyper-parameters do not count); load it into an "
                "optimizer with the rule that saved it"
            )


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
        check_saved(name, number, value, parameter, shapes[name] or ())
        if not value.is_floating_point():
            raise OptimizerError(
                f"the saved state {name!r} of parameter {number!r} is of {value.dtype}; it must "
                "be of a floating dtype, so let nothing cast the state dict"
            )
