"""The state of a parameter: what is kept between steps, in which dtype, and how it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.optim import Optimizer

from optforge.errors import OptimizerError
from optforge.optim.leaves import local
from optforge.optim.low_bit import block_size, decode, encode, is_row_aligned, scale_shape


def uses_stochastic_rounding(parameter: Tensor, group: Mapping[str, Any]) -> bool:
    """Tell whether random bits are needed to write a parameter."""
    return group["rounding"] in (None, "stochastic") and is_16_bit(parameter)


def is_16_bit(parameter: Tensor) -> bool:
    """Tell whether a parameter is bfloat16 or float16."""
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
    """Tell whether blocks fit the shards: whole rows on each rank, whole blocks in each row.

    Parameters that are not distributed always can. Distributed ones that cannot (vectors, rows
    that blocks do not fill, shards along other dimensions) keep float32 momentum.
    """
    if not isinstance(parameter, DTensor):
        return True
    by_rows = all(
        isinstance(placement, Replicate) or (type(placement) is Shard and placement.dim == 0)
        for placement in parameter.placements
    )
    return by_rows and is_row_aligned(parameter.shape)


def _scale(parameter: Tensor) -> Tensor:
    shape = scale_shape(parameter.shape)
    if not isinstance(parameter, DTensor):
        return torch.zeros(shape, dtype=torch.bfloat16, device=parameter.device)
    rows = parameter.to_local().shape[0]
    part = torch.zeros((rows, *shape[1:]), dtype=torch.bfloat16, device=parameter.device)
    return DTensor.from_local(
        part,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=torch.Size(shape),
        stride=torch.empty(shape, device="meta").stride(),
    )


def load_with_own_dtypes(
    optimizer: Optimizer, load: Callable[[dict[str, Any]], None], state_dict: dict[str, Any]
) -> None:
    """Load a state dict and keep the dtypes of its tensors.

    The base class casts every floating state to the parameter's dtype, which would ruin float32
    momentum of bfloat16 weights and codes of 8 bits alike.

    Args:
        optimizer: The optimizer.
        load: The base class's `load_state_dict`, bound to it.
        state_dict: What is loaded.

    Raises:
        OptimizerError: If it is the state of another optimizer; nothing is changed then.
    """
    seen: list[dict[str, Any]] = []

    def remember(_: Optimizer, state_dict: dict[str, Any]) -> None:
        seen.append(state_dict)  # as the user's own hooks have left it
        _check_ours(state_dict["state"])
        for number, parameter in pairs_of(optimizer, state_dict):
            check_entry(state_dict["state"].get(number, {}), number, parameter)

    def restore(optimizer: Optimizer) -> None:
        saved = seen[-1]
        for number, parameter in pairs_of(optimizer, saved):
            for name, value in saved["state"].get(number, {}).items():
                if isinstance(value, Tensor):
                    optimizer.state[parameter][name] = _placed(value, name, parameter)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                _complete(optimizer.state, parameter, group)

    handles = [
        optimizer.register_load_state_dict_pre_hook(remember),
        optimizer.register_load_state_dict_post_hook(restore, prepend=True),
    ]
    try:
        load(state_dict)
    finally:
        for handle in handles:
            handle.remove()


def _check_ours(states: Mapping[Any, Mapping[str, Any]]) -> None:
    for number, entry in states.items():
        if entry and "momentum" not in entry:
            raise OptimizerError(
                f"the state of parameter {number!r} has {sorted(entry)}, but Lion's has "
                "'momentum'; to load the state of another optimizer, use "
                "lion.load_state_dict(convert_state_dict(state_dict, lion))"
            )


def pairs_of(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> Iterator[tuple[Any, Tensor]]:
    """Give the key of each saved parameter with the parameter in the same place.

    Where numbers of parameters differ, the base class has the word.
    """
    numbers = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    yield from zip(numbers, parameters, strict=False)


def check_entry(entry: Mapping[str, Any], number: Any, parameter: Tensor) -> None:
    """Refuse a saved state whose tensors cannot be those of a parameter.

    Native code trusts what is stored, so this must not.

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
    for name, (size, kind) in wanted.items():
        if name not in entry:
            continue
        value = entry[name]
        if not isinstance(value, Tensor) or tuple(value.shape) != size or not _is(value, kind):
            got = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else value
            raise OptimizerError(
                f"the saved {name!r} of parameter {number!r} has shape and dtype {got}, but Lion's "
                f"parameter there has shape {shape}, for which they must be {size} and {kind}; "
                "build Lion over the same parameters in the same order, and let nothing cast its "
                "state dict"
            )


def _is(tensor: Tensor, kind: str) -> bool:
    if kind == "a complex dtype":
        return tensor.is_complex()
    return tensor.is_floating_point() if kind == "a floating dtype" else str(tensor.dtype) == kind


def _complete(states: Mapping[Any, Any], parameter: Tensor, group: Mapping[str, Any]) -> None:
    """Add what the group's options need and the loaded state has not, as before a first step.

    Momentum comes in 8 bits where the group asks for it and shards allow it, and the same
    parameter may have been sharded when it was saved, or be sharded now: it is encoded or decoded.
    """
    state = states.get(parameter)
    if not state:
        return
    wanted = initial_state(parameter, group)
    if ("momentum_scale" in wanted) != ("momentum_scale" in state):
        write_momentum(wanted, _decoded(state, parameter), parameter)
        state.pop("momentum_scale", None)
        state.update({name: wanted[name] for name in wanted if name.startswith("momentum")})
    for name, like in wanted.items():
        state[name] = _sharded(state[name], like) if name in state else like


def _sharded(value: Tensor, like: Tensor) -> Tensor:
    """Give each rank its part of what was saved whole."""
    if isinstance(like, DTensor) and not isinstance(value, DTensor) and value.shape == like.shape:
        return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
    return value


def _decoded(state: Mapping[str, Any], parameter: Tensor) -> Tensor:
    """Read a loaded momentum; what 8 bits stand for is given whole, not sharded."""
    momentum, scale = state["momentum"], state.get("momentum_scale")
    if scale is None:
        return momentum
    codes, scale = (t.full_tensor() if isinstance(t, DTensor) else t for t in (momentum, scale))
    values = decode(codes.reshape(-1), scale.reshape(-1), block_size(parameter.shape))
    return values.view(codes.shape)


def write_momentum(entry: Mapping[str, Any], momentum: Tensor, parameter: Tensor) -> None:
    """Write a momentum into a state, in the precision and the shards that the state keeps.

    Args:
        entry: From `initial_state`; its ``momentum`` and ``momentum_scale`` are overwritten.
        momentum: Any floating dtype, shaped as the parameter.
        parameter: Whose state it is; if it is distributed, `momentum` is too, or is whole.
    """
    momentum = momentum.to(parameter.device)
    if isinstance(parameter, DTensor) and not isinstance(momentum, DTensor):
        mesh, placements = parameter.device_mesh, parameter.placements
        momentum = distribute_tensor(momentum, mesh, placements, src_data_rank=None)
    scale = entry.get("momentum_scale")
    if scale is None:
        entry["momentum"].copy_(momentum)
        return
    values = local(momentum, parameter).to(torch.float32).reshape(-1)
    parts = encode(values, block_size(parameter.shape))
    for kept, part in zip((entry["momentum"], scale), parts, strict=True):
        local(kept).copy_(part.view(local(kept).shape))


def _placed(value: Tensor, name: str, parameter: Tensor) -> Tensor:
    """Bring a loaded tensor to the parameter's device and layout, in its own dtype."""
    if name == "step":
        return value.clone()
    value = value.to(device=parameter.device, copy=True)  # two optimizers must not share it
    if name == "momentum_scale" or value.dtype == torch.int8 or isinstance(value, DTensor):
        return value
    if value.shape == parameter.shape and value.stride() != parameter.stride():
        return torch.empty_like(parameter.detach(), dtype=value.dtype).copy_(value)
    return value
