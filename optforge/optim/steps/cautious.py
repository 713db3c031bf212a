"""The scale of cautious updates: one over the share of a parameter's elements that agree."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from optforge.optim.lion_settings import StepOptions
from optforge.optim.precision.eight_bits import decode
from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.steps.flat import FlatParameter
from optforge.optim.steps.layout import is_distributed, sum_over_shards
from optforge.optim.steps.update import StepNumbers, agreement, ascent

SMALLEST_SHARE = 1e-3


def set_cautious_scales(
    parameters: Sequence[Tensor],
    parts: Sequence[FlatParameter],
    numbers: StepNumbers,
    options: StepOptions,
) -> None:
    """Set `cautious_scale` of every part, over the whole parameter also where it is sharded.

    Maths: scale = 1 / max(mean(sign(c) g > 0), 0.001).

    Args:
        parameters: The parameters, as the user gave them.
        parts: Their parts.
        numbers: Learning rate and the like.
        options: What is fixed.

    Source: Liang et al., "Cautious Optimizers", arXiv 2411.16085, algorithm 1.
    """
    for parameter, part in zip(parameters, parts, strict=True):
        total = part.gradient.numel()
        count = _agreeing(part, numbers, options)
        if is_distributed(parameter):
            count = sum_over_shards(count, parameter)
            total = parameter.numel() * (2 if parameter.is_complex() else 1)
        share = count.to(torch.float32) / total
        part.cautious_scale = 1 / share.clamp(min=SMALLEST_SHARE)


def _agreeing(part: FlatParameter, numbers: StepNumbers, options: StepOptions) -> Tensor:
    values = part.values
    dtype = wide_dtype(values.weight.dtype)
    momentum = values.momentum
    if values.scale is not None:
        momentum = decode(momentum, values.scale, part.block)
    gradient = ascent(part.gradient, dtype, numbers, options)
    if options.nonfinite != "propagate":
        gradient = torch.where(gradient.isfinite(), gradient, 0.0)
    return agreement(gradient, momentum.to(dtype), numbers).sum()
