"""Pieces and batches: every element is stepped once, wherever it is cut, copied or left."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from optforge.optim.precision.rounding import random_bits, random_key
from optforge.optim.steps.batches import BatchSizes, batches_of
from optforge.optim.steps.piece import Piece, by_kind, flatten, pack, unpack

COUNTS = (1, 5, 64, 100, 128, 640, 1000)


def piece(count: int, block: int = 0, dtype: torch.dtype = torch.float32) -> Piece:
    scale = torch.zeros(-(-count // block), dtype=dtype) if block else None
    values = (torch.zeros(count, dtype=dtype), torch.zeros(count), scale, None)
    return Piece(values, torch.arange(count, dtype=torch.float32), random_key(0, 1, count), block)


@pytest.mark.parametrize("has_kernel", [True, False])
@pytest.mark.parametrize("block", [0, 64])
@pytest.mark.parametrize(
    "sizes",
    [
        BatchSizes(),
        BatchSizes(packed=128),
        BatchSizes(cut=64, listed=128),
        BatchSizes(cut=200, listed=0),
        BatchSizes(packed=640, cut=100, listed=300, copied=300),
    ],
    ids=str,
)
def test_batches_step_every_element_once(has_kernel: bool, block: int, sizes: BatchSizes) -> None:
    pieces = [piece(count, block) for count in COUNTS]
    for batch in batches_of(pieces, sizes, lambda p: has_kernel and p.count % (block or 1) == 0):
        if not batch.is_compiled:
            assert len(batch.pieces) == 1 or sum(p.count for p in batch.pieces) <= sizes.listed
        for part in batch.pieces:
            weight, momentum, scale, _ = part.values
            assert weight is not None and momentum is not None
            weight.add_(1.0)
            momentum.copy_(part.gradient)
            if scale is not None:
                assert scale.numel() == -(-part.count // block)
                scale.add_(1.0)
        batch.finish()
    for whole in pieces:
        weight, momentum, scale, _ = whole.values
        assert weight is not None and momentum is not None
        assert torch.equal(weight, torch.ones(whole.count))
        assert torch.equal(momentum, whole.gradient)
        assert scale is None or torch.equal(scale, torch.ones_like(scale))


def bits(part: Piece) -> Tensor:
    return random_bits(part.gradient, part.key)


def test_random_bits_follow_the_elements_into_cuts_and_packs() -> None:
    pieces = [piece(count) for count in COUNTS]
    cut = torch.cat([bits(part) for part in pieces[-1].cut(300)])
    assert torch.equal(cut, bits(pieces[-1]))
    assert torch.equal(bits(pack(pieces)), torch.cat([bits(part) for part in pieces]))


def test_a_flat_piece_follows_the_memory_of_the_weight_and_brings_copies_home() -> None:
    weight = torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last)
    momentum, number = torch.zeros(2, 3, 2, 2), torch.zeros(())
    flat = flatten((weight, momentum, number), weight.clone())
    assert flat.weight.data_ptr() == weight.data_ptr()
    assert torch.equal(flat.weight, flat.gradient) and flat.values[2] is number
    flat.weight.mul_(2)
    flat.values[1].copy_(flat.gradient)  # type: ignore[union-attr]
    flat.write_back()
    assert torch.equal(momentum, weight / 2)


def test_pieces_of_other_dtypes_are_not_stepped_together() -> None:
    pieces = [piece(5), piece(64), piece(5, dtype=torch.bfloat16), piece(64, 64)]
    groups = [[p.count for p in group] for group in by_kind(pieces)]
    assert groups == [[5, 64], [5], [64]]


def test_what_was_copied_into_one_is_written_to_every_member() -> None:
    pieces = [piece(count) for count in COUNTS]
    packed = pack(pieces)
    packed.weight.copy_(packed.gradient)
    unpack(packed, pieces)
    assert all(torch.equal(part.weight, part.gradient) for part in pieces)
