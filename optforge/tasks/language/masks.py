"""Masks for models that see a whole sequence and are asked for a share of it."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -100  # the target where nothing is asked, as in torch's cross entropy
_KEPT, _SWAPPED = 0.1, 0.1  # shares of the asked pieces that stay, or become any piece


def mask_pieces(
    pieces: Tensor, vocabulary: int, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Ask for a share of the pieces of each sequence, the same number in every one.

    Of these 80 % become the mask, 10 % any piece, and 10 % stay.

    Args:
        pieces: Sequences, int64 [B, T].
        vocabulary: Number of different pieces; the mask is the one after them.
        share: Share of the pieces that are asked for.
        generator: Draws which, and what becomes of them.

    Returns:
        Inputs [B, T], and targets [B, T], :data:`IGNORED` where nothing is asked.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> _, targets = mask_pieces(torch.ones(2, 20, dtype=torch.int64), 9, 0.15, generator)
        >>> (targets != IGNORED).sum(1).tolist()
        [3, 3]

    Source: Devlin et al., BERT, 2019 (arXiv:1810.04805), section 3.1.
    """
    order, fate, drawn = torch.rand((3, *pieces.shape), generator=generator).to(pieces.device)
    count = max(1, round(share * pieces.shape[1]))
    asked = order <= order.topk(count, 1, largest=False).values[:, -1:]
    changed = torch.full_like(pieces, vocabulary)
    changed = torch.where(fate < _SWAPPED, (drawn * vocabulary).long(), changed)
    changed = torch.where(fate >= 1 - _KEPT, pieces, changed)
    return torch.where(asked, changed, pieces), torch.where(asked, pieces, IGNORED)
