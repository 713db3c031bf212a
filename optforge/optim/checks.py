"""What the tensors of a step, and of a saved state, are held to before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError

Shape = tuple[int, ...]


def check_fits(
    parameter: Tensor, gradient: Tensor, states: Mapping[str, tuple[Tensor, Shape]]
) -> None:
    """Refuse a gradient or a state that does not fit a parameter, which may have been resized.

    Args:
        parameter: That is stepped.
        gradient: Its gradient.
        states: By name: the tensor, and the shape that it must have.

    Raises:
        OptimizerError: For a sparse gradient; else names shapes, devices or dtypes.

    Example:
        >>> check_fits(torch.zeros(2), torch.zeros(3), {})
        Traceback (most recent call last):
        optforge.errors.OptimizerError: its gradient has shape (3,), but a parameter now has ...
    """
    if gradient.layout != torch.strided:
        raise OptimizerError(
            f"a sparse gradient ({gradient.layout}), but a step moves every weight; use "
            "sparse=False in the embedding, or torch.optim.SparseAdam"
        )
    for name, (tensor, wanted) in {"": (gradient, tuple(parameter.shape)), **states}.items():
        if misfit := _misfit(parameter, tensor, wanted):
            raise OptimizerError(f"{f'its state {name!r}' if name else 'its gradient'} {misfit}")


def _misfit(parameter: Tensor, tensor: Tensor, wanted: Shape) -> str:
    """Return why a tensor does not fit a parameter, and what to do; nothing if it fits."""
    if tensor.shape != wanted:
        return (
            f"has shape {tuple(tensor.shape)}, but a parameter now has shape "
            f"{tuple(parameter.shape)}, for which it must be {wanted}; after resizing one, or "
            "changing whether it is a hidden matrix, clear its gradient and delete "
            "optimizer.state[parameter]"
        )
    if tensor.device != parameter.device:
        return (
            f"is on {tensor.device}, but a parameter is on {parameter.device}; move the model "
            "first and then load the optimizer's state dict, which moves states along"
        )
    if tensor.is_complex() != parameter.is_complex():
        return (
            f"is of {tensor.dtype}, but a parameter is of {parameter.dtype}; convert parameters "
            "before the optimizer is built"
        )
    return ""


def check_saved(name: str, number: Any, value: Any, parameter: Tensor, wanted: Shape) -> None:
    """Refuse a saved state of another shape than it must have for a parameter.

    Args:
        name: Of the state.
        number: Key of the parameter.
        value: What was saved.
        parameter: Whose state it is to become.
        wanted: The shape.

    Raises:
        OptimizerError: Names the state, what it is and what it must be.
    """
    if not isinstance(value, Tensor) or tuple(value.shape) != wanted:
        got = f"the shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r}"
        raise OptimizerError(
            f"the saved state {name!r} of parameter {number!r} has {got}; for a parameter of "
            f"shape {tuple(parameter.shape)} it must have the shape {wanted}; build the "
            "optimizer over the same parameters in the same order"
        )
