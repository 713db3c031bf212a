"""Batches: pieces of one kind that are stepped together, by a compiled kernel or in lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch

from optforge.optim.steps.layout import has_shape_only
from optforge.optim.steps.piece import Piece, pack, unpack

WITHOUT_LIMIT = 1 << 62  # elements of a batch, where there is no cache to fit
PACK = 1 << 18  # elements of small pieces that are copied into one for a kernel
T = TypeVar("T")


class BatchSizes(NamedTuple):
    """How pieces are divided into batches.

    Args:
        packed: Elements up to which pieces with a kernel are copied into one.
        cut: Elements of the longest piece without a kernel.
        listed: Elements of a batch without a kernel; 0 means one piece a batch.
        copied: Elements up to which, on average, pieces of such a batch are copied into one too.
    """

    packed: int = 0
    cut: int = WITHOUT_LIMIT
    listed: int = WITHOUT_LIMIT
    copied: int = 0


@dataclass
class Batch:
    """Pieces that are stepped together.

    Args:
        pieces: What is stepped.
        is_compiled: Whether a kernel steps each of them.
        members: What was copied into the only piece, if it is a pack.
    """

    pieces: Sequence[Piece]
    is_compiled: bool = False
    members: Sequence[Piece] = ()

    def finish(self) -> None:
        """Copy results to where they are kept."""
        if self.members:
            unpack(self.pieces[0], self.members)


def batches_of(
    pieces: Sequence[Piece], sizes: BatchSizes, has_kernel: Callable[[Piece], bool]
) -> Iterator[Batch]:
    """Divide pieces of one kind into batches; call `finish` of each when it is stepped.

    Args:
        pieces: Those that may be cut are flat.
        sizes: How to divide them.
        has_kernel: Whether a kernel can step a piece.
    """
    compiled, rest, small = [], [], []
    for piece in pieces:
        where = (
            rest if not has_kernel(piece) else small if piece.count <= sizes.packed else compiled
        )
        where.append(piece)
    for members in batched(small, PACK):
        # A kernel for any size is not one for a single element.
        if sum(piece.count for piece in members) < 2 or not are_apart(members):
            rest += members
        else:
            yield Batch([pack(members)], True, members)
    if compiled:
        yield Batch(compiled, True)
    for members in batched((part for piece in rest for part in piece.cut(sizes.cut)), sizes.listed):
        are_copied = len(members) > 1 and _are_copied(members, sizes.copied)
        yield Batch([pack(members)], members=members) if are_copied else Batch(members)


def _are_copied(pieces: Sequence[Piece], average: int) -> bool:
    """Return whether pieces are short, in whole blocks, and share no memory."""
    counts = [piece.count for piece in pieces]
    if sum(counts) > average * len(counts) or not are_apart(pieces):
        return False
    return not any(count % (piece.block or 1) for count, piece in zip(counts, pieces, strict=True))


def are_apart(pieces: Sequence[Piece]) -> bool:
    """Return whether no weight lies in the memory of another, as those of tied parameters do.

    Copies of such weights would be stepped apart, and one step of them would be lost.
    """
    if torch.compiler.is_compiling() or any(has_shape_only(p.weight) for p in pieces[:1]):
        return True
    weights = [piece.weight for piece in pieces]
    places = sorted((w.data_ptr(), w.data_ptr() + w.numel() * w.itemsize) for w in weights)
    return all(end <= start for (_, end), (start, _) in pairwise(places))


def batched(
    items: Iterable[T],
    size: int,
    count: Callable[[T], int] = lambda item: item.count,  # type: ignore[attr-defined]
) -> Iterator[list[T]]:
    """Group consecutive items, so that those of a batch have at most `size` elements."""
    batch: list[T] = []
    free = size
    for item in items:
        elements = count(item)
        if elements > free and batch:
            yield batch
            batch, free = [], size
        batch.append(item)
        free -= elements
    if batch:
        yield batch
