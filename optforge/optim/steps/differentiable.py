"""The step that autograd records: for gradients through an optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from optforge.optim.lion_settings import StepOptions
from optforge.optim.steps.cautious import SMALLEST_SHARE
from optforge.optim.steps.flat import Member
from optforge.optim.steps.layout import real
from optforge.optim.steps.update import StepNumbers, Values, agreement, ascent, lion_update


def differentiable_step(
    members: Sequence[Member], numbers: StepNumbers, options: StepOptions
) -> None:
    """Step parameters in place with gradients recorded; the momentum is replaced, not changed.

    The sign has derivative 0, so weights depend on earlier weights, the learning rate and decay;
    momenta depend on the gradients.

    Args:
        members: Parameters with gradients; no leaves that require gradients.
        numbers: Learning rate and the like.
        options: What is fixed.
    """
    options = replace(options, rounding="nearest", block=0)
    with torch.enable_grad():
        for _, parameter, state, _ in members:
            values = Values(real(parameter.clone()), real(state["momentum"]))
            gradient = real(parameter.grad)  # type: ignore[arg-type]
            scale = (
                _cautious_scale(values, gradient, numbers, options) if options.cautious else None
            )
            new = lion_update(values, gradient, scale, 0, numbers, options)
            parameter.copy_(_like(new.weight, parameter))
            state["momentum"] = _like(new.momentum, parameter)


def _cautious_scale(
    values: Values, gradient: Tensor, numbers: StepNumbers, options: StepOptions
) -> Tensor:
    dtype = values.momentum.dtype
    agree = agreement(ascent(gradient, dtype, numbers, options), values.momentum, numbers)
    return 1 / agree.to(dtype).mean().clamp(min=SMALLEST_SHARE)


def _like(tensor: Tensor, parameter: Tensor) -> Tensor:
    return torch.view_as_complex(tensor) if parameter.is_complex() else tensor
