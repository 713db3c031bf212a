"""How tensors lie in memory and over ranks: the ordinary case, and views of the others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor
from torch.nn import Parameter

if TYPE_CHECKING:  # slow to import, and needed by few; functions that need more import it
    from torch.distributed.tensor import DTensor

Row = tuple[Tensor, Tensor, Tensor]  # weight, gradient, momentum
PLAIN = {Parameter, Tensor}


def is_distributed(tensor: Tensor) -> TypeGuard[DTensor]:
    """Return whether a tensor lives on several ranks.

    Example:
        >>> is_distributed(torch.zeros(2))
        False
    """
    if type(tensor) in PLAIN:
        return False
    distributed = sys.modules.get("torch.distributed.tensor")  # else no such tensor can exist
    return distributed is not None and isinstance(tensor, distributed.DTensor)


def has_shape_only(tensor: Tensor) -> bool:
    """Return whether a tensor holds no numbers, as in dry runs: on the meta device, or fake.

    Example:
        >>> has_shape_only(torch.zeros(2, device="meta"))
        True
    """
    return tensor.is_meta or type(tensor).__name__ == "FakeTensor"


def local(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """Return the part of a distributed tensor that lives here; other tensors as they are.

    Args:
        tensor: A parameter, gradient or state.
        like: The distributed parameter whose placements a gradient must have.
    """
    if not is_distributed(tensor):
        return tensor
    if like is not None and is_distributed(like) and tensor.placements != like.placements:
        tensor = tensor.redistribute(like.device_mesh, like.placements)
    part: Any = tensor.to_local()
    return part.wait() if hasattr(part, "wait") else part  # a gradient may still be on its way


def shard(whole: Tensor, like: DTensor) -> Tensor:
    """Return a tensor that every rank has whole, distributed as another one is."""
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def sum_over_shards(number: Tensor, like: DTensor) -> Tensor:
    """Add up one number over the ranks that hold different elements of a distributed tensor."""
    from torch.distributed.tensor import DTensor, Partial, Replicate

    placements = [Replicate() if p.is_replicate() else Partial() for p in like.placements]
    return DTensor.from_local(number, like.device_mesh, placements, run_check=False).full_tensor()


def any_over_ranks(flag: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Add up a flag over all ranks that hold parts of some tensors.

    Args:
        flag: One element.
        tensors: Where none is distributed, the flag is returned as it is.
    """
    for mesh in dict.fromkeys(t.device_mesh for t in tensors if is_distributed(t)):
        from torch.distributed.tensor import DTensor, Partial

        part = flag.to(device=mesh.device_type, dtype=torch.int32)
        sums = [Partial()] * mesh.ndim
        flag = DTensor.from_local(part, mesh, sums, run_check=False).full_tensor()
    return flag


def real(tensor: Tensor) -> Tensor:
    """View complex numbers as pairs of real ones; other tensors as they are."""
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj().resolve_neg())
    return tensor.resolve_neg()
