"""The state of a parameter: what is kept between steps, in which dtype, and how it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.optim import Optimizer

from optforge.errors import OptimizerError
from optforge.optim.low_bit import is_row_aligned, scale_shape


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
    """
    seen: list[dict[str, Any]] = []

    def remember(_: Optimizer, state_dict: dict[str, Any]) -> None:
        seen.append(state_dict)  # as the user's own hooks have left it

    def restore(optimizer: Optimizer) -> None:
        saved = seen[-1]
        numbers = chain.from_iterable(group["params"] for group in saved["param_groups"])
        parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
        for number, parameter in zip(numbers, parameters, strict=True):
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


def _complete(states: Mapping[Any, Any], parameter: Tensor, group: Mapping[str, Any]) -> None:
    """Add what the group's options need and the loaded state has not, as before a first step."""
    state = states.get(parameter)
    if not state or "momentum" not in state:
        return
    wanted = initial_state(parameter, group)
    if ("momentum_scale" in wanted) == ("momentum_scale" in state):
        for name in wanted.keys() - state.keys():
            state[name] = wanted[name]
        return
    raise OptimizerError(
        f"a state with momentum of {state['momentum'].dtype} for momentum_dtype="
        f"{group['momentum_dtype']!r}; the loaded param_groups must say what the state is"
    )


def _placed(value: Tensor, name: str, parameter: Tensor) -> Tensor:
    """Bring a loaded tensor to the parameter's device and layout, in its own dtype."""
    if name == "step":
        return value.clone()
    value = value.to(device=parameter.device)
    if name == "momentum_scale" or value.dtype == torch.int8 or isinstance(value, DTensor):
        return value
    if value.shape == parameter.shape and value.stride() != parameter.stride():
        return torch.empty_like(parameter.detach(), dtype=value.dtype).copy_(value)
    return value
