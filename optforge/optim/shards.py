"""Whether gradients are finite, asked of all ranks where parameters are sharded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial

from optforge.optim.leaves import local, real
from optforge.optim.step_foreach import surely_finite
from optforge.optim.step_loop import all_finite


def found_nonfinite(parameters: Sequence[Tensor], capturable: bool = False) -> Tensor | None:
    """Tell whether some gradient has an infinite or NaN element, on any rank that shares it.

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
    sharded = any(isinstance(parameter, DTensor) for parameter in parameters)
    if not (capturable or sharded) and _surely_finite(gradients):
        return None
    return over_ranks(~all_finite(gradients), parameters)


def over_ranks(found: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Add up a flag over the ranks that hold other parts of the same parameters.

    Args:
        found: One element.
        parameters: Where none is distributed, the flag is given back as it is.
    """
    meshes = dict.fromkeys(p.device_mesh for p in parameters if isinstance(p, DTensor))
    for mesh in meshes:
        part = found.to(device=mesh.device_type, dtype=torch.int32)
        placements = [Partial()] * mesh.ndim
        found = DTensor.from_local(part, mesh, placements, run_check=False).full_tensor()
    return found


def _surely_finite(gradients: Sequence[Tensor]) -> bool:
    """Tell whether gradients are finite for sure; `torch._foreach_norm` wants one dtype."""
    kinds = {(gradient.device, gradient.dtype) for gradient in gradients}
    return all(
        surely_finite([g for g in gradients if (g.device, g.dtype) == kind]) for kind in kinds
    )
