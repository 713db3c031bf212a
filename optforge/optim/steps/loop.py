"""The plain loop: one parameter after the other, the maths as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from optforge.optim.lion_settings import StepOptions
from optforge.optim.steps.flat import FlatParameter
from optforge.optim.steps.update import StepNumbers, lion_update


def update_one(part: FlatParameter, numbers: StepNumbers, options: StepOptions) -> None:
    """Run the maths on one part, or a slice of it, and write the results."""
    options = replace(options, block=part.block)
    new = lion_update(part.values, part.gradient, part.cautious_scale, part.key, numbers, options)
    part.write(new)


def loop_step(parts: Sequence[FlatParameter], numbers: StepNumbers, options: StepOptions) -> None:
    """Step all parts, one by one.

    Args:
        parts: The parameters.
        numbers: Learning rate and the like.
        options: What is fixed.
    """
    for part in parts:
        update_one(part, numbers, options)


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Return, as a tensor of one bool, whether all elements of all tensors are finite."""
    device = tensors[0].device
    return torch.stack([tensor.isfinite().all().to(device) for tensor in tensors]).all()
