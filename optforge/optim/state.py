"""The state of a parameter: what is kept between steps, in which dtype, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim.checks import check_saved
from optforge.optim.precision.eight_bits import (
    block_size,
    decode,
    encode,
    is_row_aligned,
    scale_shape,
)
from optforge.optim.saved import name_of_source
from optforge.optim.settings import numbers_where
from optforge.optim.steps.layout import is_distributed, local, shard


def uses_stochastic_rounding(parameter: Tensor, group: Mapping[str, Any]) -> bool:
    """Return whether random bits are needed to write a parameter."""
    return group["rounding"] in (None, "stochastic") and is_16_bit(parameter)


def is_16_bit(parameter: Tensor) -> bool:
    """Return whether a parameter is bfloat16 or float16."""
    return parameter.dtype in (torch.bfloat16, torch.float16)


def initial_state(parameter: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
    """Build the state of a parameter before its first step.

    Args:
        parameter: The parameter; if it is distributed, so is its state.
        group: Its group.

    Returns:
        ``momentum``; ``momentum_scale`` for 8 bits; ``compensation`` for Kahan; ``step`` (float32,
        on the CPU unless capturable) for stochastic rounding. Plain tensors only.
    """
    parameter = parameter.detach()
    state: dict[str, Tensor] = {}
    if uses_stochastic_rounding(parameter, group):
        device = parameter.device if group["capturable"] else "cpu"
        state["step"] = torch.zeros((), dtype=torch.float32, device=device)
    if group["momentum_dtype"] == "8bit" and can_have_8_bits(parameter):
        state["momentum"] = torch.zeros_like(
            parameter, dtype=torch.int8, memory_format=torch.contiguous_format
        )
        state["momentum_scale"] = _scale(parameter)
    else:
        dtype = _momentum_dtype(parameter, group["momentum_dtype"])
        state["momentum"] = torch.zeros_like(parameter, dtype=dtype)
    if group["rounding"] == "kahan" and is_16_bit(parameter):
        state["compensation"] = torch.zeros_like(parameter, dtype=torch.int16)
    return state


def _momentum_dtype(parameter: Tensor, wanted: torch.dtype | str | None) -> torch.dtype:
    if wanted is None or isinstance(wanted, str):
        wide = parameter.dtype in (torch.float64, torch.complex128)
        wanted = torch.float64 if wide else torch.float32
    return wanted.to_complex() if parameter.is_complex() else wanted


def can_have_8_bits(parameter: Tensor) -> bool:
    """Return whether blocks fit the shards: whole rows on each rank, whole blocks in each row.

    Parameters that are not distributed always can. Distributed ones that cannot (vectors, rows
    that blocks do not fill, shards along other dimensions) keep float32 momentum.
    """
    if not is_distributed(parameter):
        return True
    from torch.distributed.tensor import Shard

    by_rows = all(
        placement.is_replicate() or (type(placement) is Shard and placement.dim == 0)
        for placement in parameter.placements
    )
    return by_rows and is_row_aligned(parameter.shape)


def _scale(parameter: Tensor) -> Tensor:
    shape = scale_shape(parameter.shape)
    if not is_distributed(parameter):
        return torch.zeros(shape, dtype=torch.bfloat16, device=parameter.device)
    from torch.distributed.tensor import DTensor

    rows = parameter.to_local().shape[0]
    part = torch.zeros((rows, *shape[1:]), dtype=torch.bfloat16, device=parameter.device)
    return DTensor.from_local(
        part,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=torch.Size(shape),
        stride=torch.empty(shape, dtype=torch.bfloat16, device="meta").stride(),
    )


def check_source(groups: Sequence[Mapping[str, Any]], states: Mapping[Any, Any]) -> None:
    """Refuse the state dict of another optimizer.

    Args:
        groups: The saved groups that have parameters. Options that only Lion has must be there: a
            state without tensors could be anybody's.
        states: The saved states by key.

    Raises:
        OptimizerError: Says whose state it is and how to load it.
    """
    for key, entry in states.items():
        if entry and "momentum" not in entry:
            raise OptimizerError(
                f"the state of parameter {key!r} has {sorted(entry)}, but Lion's has 'momentum'; "
                f"{_OTHER_STATE}"
            )
    for group in groups:
        if not {"betas", "decay_mode", "momentum_dtype", "rounding"} <= set(group):
            raise OptimizerError(
                f"the state dict is of {name_of_source(group)}: its groups have {sorted(group)}, "
                f"and lack options of Lion; {_OTHER_STATE}. Without a momentum in it there is "
                "nothing to load: build Lion with settings of its own"
            )


_OTHER_STATE = (
    "to load the state of another optimizer, use "
    "lion.load_state_dict(convert_state_dict(state_dict, lion))"
)


def check_entry(entry: Mapping[str, Any], number: Any, parameter: Tensor) -> None:
    """Refuse a saved state whose tensors cannot be those of a parameter.

    Args:
        entry: The saved state of one parameter; empty before its first step.
        number: Its key, for the message.
        parameter: Whose state it is to become.

    Raises:
        OptimizerError: Names the tensor, what it is and what it must be.
    """
    shape = tuple(parameter.shape)
    coded = "momentum_scale" in entry
    floating = "a floating dtype" if not parameter.is_complex() else "a complex dtype"
    wanted = {
        "momentum": (shape, "torch.int8" if coded else floating),
        "momentum_scale": (scale_shape(shape), "torch.bfloat16"),
        "compensation": (shape, "torch.int16"),
    }
    for name in (name for name in wanted if name in entry):
        size, kind = wanted[name]
        check_saved(name, number, entry[name], parameter, size)
        if not _is(entry[name], kind):
            raise OptimizerError(
                f"the saved state {name!r} of parameter {number!r} is of {entry[name].dtype}; it "
                f"must be of {kind}, so let nothing cast the state dict"
            )
    if "step" in entry:
        STEP.plain(f"the saved 'step' of parameter {number!r}", entry["step"])


STEP = numbers_where(lambda value: value >= 0, "a finite number that is not negative")


def _is(tensor: Tensor, kind: str) -> bool:
    if kind == "a complex dtype":
        return tensor.is_complex()
    return tensor.is_floating_point() if kind == "a floating dtype" else str(tensor.dtype) == kind


def complete(
    state: dict[str, Any],
    parameter: Tensor,
    group: Mapping[str, Any],
    was: torch.dtype | None = None,
) -> None:
    """Add what dtype and options need and the state lacks, and drop what would be misread.

    Momentum comes in 8 bits where the group asks for it and shards allow it: it is encoded or
    decoded where a parameter was sharded when it was saved, or is now. The compensation of a dtype
    means nothing in another one.

    Args:
        state: Of the parameter, not empty.
        parameter: The parameter; it may have been cast since its state was made.
        group: Its group; its options may have been changed.
        was: The dtype that the parameter had when its state was made, if that is known.
    """
    wanted = initial_state(parameter, group)
    if "compensation" not in wanted or was not in (None, parameter.dtype):
        state.pop("compensation", None)
    if ("momentum_scale" in wanted) != ("momentum_scale" in state):
        write_momentum(wanted, momentum_of(state, parameter.shape, is_whole=True), parameter)
        state.pop("momentum_scale", None)
        state.update({name: wanted[name] for name in wanted if name.startswith("momentum")})
    elif "momentum_scale" not in wanted:
        state["momentum"] = state["momentum"].to(wanted["momentum"].dtype)
    for name, like in wanted.items():
        state[name] = _sharded(state[name], like) if name in state else like
    if "step" in wanted:
        state["step"] = state["step"].to(wanted["step"].device)


def _sharded(value: Tensor, like: Tensor) -> Tensor:
    """Return each rank its part of what was saved whole."""
    if is_distributed(like) and not is_distributed(value) and value.shape == like.shape:
        return shard(value, like)
    return value


def momentum_of(entry: Mapping[str, Any], shape: Sequence[int], is_whole: bool = False) -> Tensor:
    """Return the momentum from Lion's state of one parameter.

    Args:
        entry: `lion.state[parameter]`, or its copy in a state dict.
        shape: Of the (whole) parameter.
        is_whole: Whether to gather 8-bit momentum of a distributed parameter.

    Returns:
        The momentum, shaped as stored; 8 bits are decoded to float32, of a distributed parameter
        those that live here, or all.
    """
    momentum, scale = entry["momentum"], entry.get("momentum_scale")
    if scale is None:
        return momentum
    codes, scale = (
        t.full_tensor() if is_whole and is_distributed(t) else local(t) for t in (momentum, scale)
    )
    return decode(codes.reshape(-1), scale.reshape(-1), block_size(tuple(shape))).view(codes.shape)


def write_momentum(entry: Mapping[str, Any], momentum: Tensor, parameter: Tensor) -> None:
    """Write a momentum into a state, in the precision and the shards that the state keeps.

    Args:
        entry: From `initial_state`; its ``momentum`` and ``momentum_scale`` are overwritten.
        momentum: Any floating dtype, shaped as the parameter.
        parameter: Whose state it is; if it is distributed, `momentum` is too, or is whole.
    """
    momentum = momentum.to(parameter.device)
    if is_distributed(parameter) and not is_distributed(momentum):
        momentum = shard(momentum, parameter)
    scale = entry.get("momentum_scale")
    if scale is None:
        entry["momentum"].copy_(momentum)
        return
    values = local(momentum, parameter).to(torch.float32).reshape(-1)
    parts = encode(values, block_size(parameter.shape))
    for kept, part in zip((entry["momentum"], scale), parts, strict=True):
        local(kept).copy_(part.view(local(kept).shape))


def placed(value: Any, name: str, parameter: Tensor) -> Any:
    """Return a copy of a loaded value, a tensor on the parameter's device and in its layout."""
    if name == "step":
        return torch.as_tensor(STEP.plain(name, value), dtype=torch.float32, device="cpu").clone()
    if not isinstance(value, Tensor):
        return deepcopy(value)
    value = value.to(device=parameter.device, copy=True)  # two optimizers must not share it
    if name == "momentum_scale" or value.dtype == torch.int8 or is_distributed(value):
        return value
    if value.shape == parameter.shape and value.stride() != parameter.stride():
        return torch.empty_like(parameter.detach(), dtype=value.dtype).copy_(value)
    return value
