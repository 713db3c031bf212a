"""Whether gradients are finite, asked of all ranks where parameters are sharded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optforge.errors import NonFiniteError
from optforge.optim.steps.layout import any_over_ranks, is_distributed, local, real
from optforge.optim.steps.member import Member
from optforge.optim.steps.piece import LISTS


def found_nonfinite(parameters: Sequence[Tensor], capturable: bool = False) -> Tensor | None:
    """Return whether some gradient has an infinite or NaN element, on any rank that shares it.

    All ranks must come to one verdict: a step that one rank leaves out and another takes would
    tear a model apart.

    Args:
        parameters: All with a gradient, the same on every rank.
        capturable: Whether the host must not be asked.

    Returns:
        A tensor of one element, not 0 if there is one; None if all are finite, where that could
        be told without a second look.
    """
    gradients = [real(local(p.grad, p)) for p in parameters if p.grad is not None]
    sharded = any(is_distributed(parameter) for parameter in parameters)
    if not (capturable or sharded) and _surely_finite(gradients):
        return None
    return any_over_ranks(~_all_finite(gradients), parameters)


def _surely_finite(gradients: Sequence[Tensor]) -> bool:
    """Return whether the norms are finite; if not, an element is not, or the squares overflow."""
    kinds: dict[Any, list[Tensor]] = {}  # `torch._foreach_norm` wants one dtype
    for gradient in gradients:
        kinds.setdefault((gradient.device, gradient.dtype), []).append(gradient)
    norms = [torch.stack(LISTS._foreach_norm(alike)).sum() for alike in kinds.values()]
    return all(math.isfinite(float(norm)) for norm in norms)


def _all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Return, as a tensor of one bool, whether all elements of all tensors are finite."""
    device = tensors[0].device
    return torch.stack([tensor.isfinite().all().to(device) for tensor in tensors]).all()


def any_found(flags: Sequence[Tensor], stays_on_device: bool) -> bool | Tensor:
    """Return whether some flag is set; as a tensor where the host must not or need not ask."""
    if not flags:
        return False
    if all(flag.device.type == "cpu" for flag in flags) and not stays_on_device:
        return any(bool(flag) for flag in flags)
    device = flags[0].device
    return torch.stack([(flag != 0).to(device).reshape(()) for flag in flags]).any()


def raise_nonfinite(group: Mapping[str, Any], members: Sequence[Member]) -> None:
    """Raise an error that names the parameters whose gradients are not finite.

    Raises:
        NonFiniteError: Always.
    """
    names = group.get("param_names")
    bad = [
        repr(names[number]) if names else f"number {number} of its group"
        for number, parameter, *_ in members
        if not bool(real(local(parameter.grad)).isfinite().all())  # type: ignore[arg-type]
    ]
    where = ", ".join(bad) or "on another rank"
    raise NonFiniteError(
        f"infinite or NaN gradients of parameters {where}; nothing was changed. Lower the "
        "learning rate or clip gradients, or choose nonfinite='ignore' or 'skip_step'"
    )
