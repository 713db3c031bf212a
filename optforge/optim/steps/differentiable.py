"""The step that autograd records: for gradients through an optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from optforge.optim.lion_settings import StepOptions
from optforge.optim.steps.cautious import SMALLEST_SHARE
from optforge.optim.steps.layout import real
from optforge.optim.steps.member import Member
from optforge.optim.steps.piece import Piece
from optforge.optim.steps.update import StepNumbers, agreement, ascent, lion_update


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
    options = replace(options, rounding="nearest")
    with torch.enable_grad():
        for _, parameter, state, *_ in members:
            values = (real(parameter.clone()), real(state["momentum"]), None, None)
            piece = Piece(values, real(parameter.grad))  # type: ignore[arg-type]
            if options.cautious:
                piece.cautious_scale = _cautious_scale(piece, numbers, options)
            new = lion_update(piece, numbers, options)
            parameter.copy_(_like(new.weight, parameter))
            momentum = new.momentum.to(piece.values[1].dtype)  # type: ignore[union-attr]
            state["momentum"] = _like(momentum, parameter)


def _cautious_scale(piece: Piece, numbers: StepNumbers, options: StepOptions) -> Tensor:
    momentum = piece.values[1]
    assert momentum is not None
    gradient = ascent(piece.gradient, momentum.dtype, numbers, options)
    share = agreement(gradient, momentum, numbers).to(momentum.dtype).mean()
    return 1 / share.clamp(min=SMALLEST_SHARE)


def _like(tensor: Tensor, parameter: Tensor) -> Tensor:
    return torch.view_as_complex(tensor) if parameter.is_complex() else tensor
