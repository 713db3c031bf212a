"""The scale of cautious updates: one over the share of a parameter's elements that agree."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.steps.layout import is_distributed, sum_over_shards
from optforge.optim.steps.piece import Piece
from optforge.optim.steps.update import Step, agreement, ascent, opened

SMALLEST_SHARE = 1e-3


def set_cautious_scales(parameters: Sequence[Tensor], pieces: Sequence[Piece], step: Step) -> None:
    """Set `cautious_scale` of every piece, over the whole parameter also where it is sharded.

    Maths: scale = 1 / max(mean(sign(c) g > 0), 0.001).

    Args:
        parameters: The parameters, as the user gave them.
        pieces: Their pieces.
        step: What the group shares.

    Source: Liang et al., "Cautious Optimizers", arXiv 2411.16085, algorithm 1.
    """
    for parameter, piece in zip(parameters, pieces, strict=True):
        total = piece.gradient.numel()
        flat = piece.flattened() if piece.block else piece
        count = _agreeing(flat, step)
        if is_distributed(parameter):
            count = sum_over_shards(count, parameter)
            total = parameter.numel() * (2 if parameter.is_complex() else 1)
        piece.cautious_scale = scales_of(count.to(torch.float32) / total)


def scales_of(shares: Tensor) -> Tensor:
    """Return the factors of updates from the shares of elements that agree."""
    return 1 / shares.clamp(min=SMALLEST_SHARE)


def _agreeing(piece: Piece, step: Step) -> Tensor:
    dtype = wide_dtype(piece.weight.dtype)
    _, momentum = opened(piece, dtype)
    gradient = ascent(piece.gradient, dtype, step)
    if step.options.nonfinite != "propagate":
        gradient = torch.where(gradient.isfinite(), gradient, 0.0)
    return agreement(gradient, momentum, step.numbers).sum()
