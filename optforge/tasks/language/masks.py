"""Masks and spans for models that see a sequence and are asked for a share of it."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -100  # the target where nothing is asked, as in torch's cross entropy
_SPAN = 3  # pieces of a corrupted span, in the mean
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


def span_sizes(length: int, share: float) -> tuple[int, int, int]:
    """Return of a sequence the spans, what is left of it, and what is asked for.

    Spans have three pieces in the mean. What is left has a mark for each span; what is asked for
    has the spans, each after its mark, and a last mark.

    Example:
        >>> span_sizes(64, 0.15)
        (3, 57, 14)
    """
    noise = min(length - 1, max(1, round(share * length)))
    spans = max(1, min(round(noise / _SPAN), length - noise))
    return spans, length - noise + spans, noise + spans + 1


def corrupt_spans(
    pieces: Tensor, vocabulary: int, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Replace spans of pieces by marks, and ask for what was there.

    Args:
        pieces: Sequences, int64 [B, T].
        vocabulary: Number of different pieces; the marks are those after them.
        share: Share of the pieces that are replaced.
        generator: Draws where spans begin and end.

    Returns:
        What is left [B, left], and what is asked for [B, asked], sizes as of :func:`span_sizes`.

    Example:
        >>> generator = torch.Generator().manual_seed(1)
        >>> left, asked = corrupt_spans(torch.arange(8)[None], 8, 0.25, generator)
        >>> left.tolist(), asked.tolist()
        ([[0, 1, 2, 3, 4, 5, 8]], [[8, 6, 7, 9]])

    Source: Raffel et al., T5, 2020 (arXiv:1910.10683), section 3.1.4.
    """
    batch, length = pieces.shape
    spans, left, asked = span_sizes(length, share)
    noise = asked - spans - 1
    kept, gone = (
        _cut(batch, total, spans, generator).to(pieces.device) for total in (length - noise, noise)
    )
    ends = torch.stack([kept, gone], 2).flatten(1).cumsum(1)  # a kept part, then a span, ...
    part = (torch.arange(length, device=pieces.device)[None, :, None] >= ends[:, None]).sum(2)
    is_gone = part % 2 == 1
    begins = is_gone & (part != part.roll(1, 1))
    marks = vocabulary + part // 2
    rest = torch.where(begins, marks, pieces)[~is_gone | begins].view(batch, left)
    both = torch.stack([marks, pieces], 2).flatten(1)
    shown = torch.stack([begins, is_gone], 2).flatten(1)
    last = pieces.new_full((batch, 1), vocabulary + spans)
    return rest, torch.cat([both[shown].view(batch, asked - 1), last], 1)


def _cut(batch: int, total: int, parts: int, generator: torch.Generator) -> Tensor:
    """Return random sizes of parts, each at least 1, that add up to the total, int64 [B, parts]."""
    places = torch.rand(batch, total - 1, generator=generator).argsort(1)[:, : parts - 1] + 1
    edges = torch.cat([places.sort(1).values, places.new_full((batch, 1), total)], 1)
    return edges.diff(dim=1, prepend=edges.new_zeros(batch, 1))
