"""What a step works on: the tensors of one parameter, flat, whole or in consecutive pieces.

The tensors are views wherever memory allows it; otherwise they are copies, and `write_back` brings
them home. Small contiguous parameters keep their shape: flat views would cost more than their step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from optforge.optim.precision.rounding import moved
from optforge.optim.settings import Number
from optforge.optim.steps.layout import has_shape_only

LISTS: Any = torch  # its list operations are public by custom, not by type
Tensors = Sequence[Tensor | None]


class PieceKind(NamedTuple):
    """What pieces must share to be stepped together.

    Args:
        device: Where they are.
        gradient: Dtype of the gradients.
        values: Dtypes of the weights and of each state; None where a state is not kept.
        block: As of `Piece`.
        is_cautious: Whether there are scales of cautious updates.
    """

    device: torch.device
    gradient: torch.dtype
    values: tuple[torch.dtype | None, ...]
    block: int
    is_cautious: bool


@dataclass(slots=True)
class Piece:
    """A parameter, or consecutive elements of one, in a step.

    Args:
        values: The weight, then the states, changed in place; None where a state is not kept.
        gradient: Shaped as the weight, never changed.
        key: Random key of this step and the first element, where rounding needs one.
        block: Elements for each number of the states that have fewer than the weight, else 0.
        cautious_scale: One over the share of agreeing elements, where updates are cautious.
        copies: Tensors to write when the step is done: (kept tensor, flat copy as its shape).
    """

    values: Tensors
    gradient: Tensor
    key: Number = 0
    block: int = 0
    cautious_scale: Tensor | None = None
    copies: Sequence[tuple[Tensor, Tensor]] = ()

    @property
    def weight(self) -> Tensor:
        """Return the weight."""
        weight = self.values[0]
        assert weight is not None
        return weight

    @property
    def count(self) -> int:
        """Return the number of elements."""
        return self.gradient.numel()

    @property
    def kind(self) -> PieceKind:
        """Return what pieces must share to be stepped together."""
        dtypes = tuple(None if value is None else value.dtype for value in self.values)
        is_cautious = self.cautious_scale is not None
        return PieceKind(self.gradient.device, self.gradient.dtype, dtypes, self.block, is_cautious)

    def flattened(self) -> Piece:
        """Return the piece with flat tensors."""
        if self.gradient.dim() == 1 and not self.weight.requires_grad:
            return self
        values = [None if v is None else v.detach().view(-1) for v in self.values]
        gradient = self.gradient.detach().view(-1)
        return Piece(values, gradient, self.key, self.block, self.cautious_scale)

    def cut(self, size: int) -> Sequence[Piece]:
        """Cut a flat piece into consecutive ones of at most `size` elements, whole blocks each."""
        if self.count <= size:
            return [self]
        step = size - size % (self.block or 1)
        short = step // (self.block or 1)
        gradients = self.gradient.split(step)
        columns = [
            [None] * len(gradients)
            if value is None
            else value.split(step if value.numel() == self.count else short)
            for value in self.values
        ]
        keys = [moved(self.key, number * step) for number in range(len(gradients))]
        return [
            Piece(values, gradient, key, self.block, self.cautious_scale)
            for values, gradient, key in zip(
                zip(*columns, strict=True), gradients, keys, strict=True
            )
        ]

    def write(self, new: Tensors) -> None:
        """Write the results of a step."""
        for old, value in zip(self.values, new, strict=True):
            if old is not None and value is not None and not _is_the_same(old, value):
                old.copy_(value.view(old.shape))

    def write_back(self) -> None:
        """Copy what is no view to where it is kept."""
        for kept, copy in self.copies:
            kept.copy_(copy)


def _is_the_same(old: Tensor, new: Tensor) -> bool:
    """Return whether a result was computed in the place where it is kept."""
    if torch.compiler.is_compiling() or has_shape_only(old):
        return False
    return old.data_ptr() == new.data_ptr()


def flatten(
    values: Tensors, gradient: Tensor, key: Number = 0, block: int = 0, keeps_shape: bool = False
) -> Piece:
    """Build a flat piece of a whole parameter, in the order of the weight's memory.

    Args:
        values: The weight and its states, on one device. States without dimensions stay so.
        gradient: Any layout.
        key: Random key of the step.
        block: As of `Piece`; blocks count elements in the order of dimensions, whatever the layout.
        keeps_shape: Whether to make everything contiguous only, which the weight must be already.

    Returns:
        The piece; call `write_back` when its step is done.
    """
    weight = values[0]
    assert weight is not None
    order = None if block else _order(weight)
    copies: list[tuple[Tensor, Tensor]] = []

    def flat(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.dim() < min(weight.dim(), 1):
            return tensor
        ordered = tensor if order is None else tensor.permute(order)
        result = ordered.contiguous()
        if not keeps_shape:
            result = result.view(-1)
        if not ordered.is_contiguous():
            copies.append((ordered, result.view(ordered.shape)))
        return result

    flat_values = [flat(value) for value in values]
    ordered = gradient if order is None else gradient.permute(order)
    ordered = ordered.detach().contiguous()
    return Piece(
        flat_values, ordered if keeps_shape else ordered.view(-1), key, block, copies=copies
    )


def _order(tensor: Tensor) -> list[int] | None:
    """Return the order of dimensions in memory, or None where that is the usual one."""
    if tensor.is_contiguous():
        return None
    return sorted(range(tensor.dim()), key=lambda number: -tensor.stride(number))


def gather(tensors: Sequence[Tensor]) -> Tensor:
    """Copy tensors of one dtype into one, unrecorded by autograd; `scatter` brings results home."""
    return _flatten_dense_tensors(tensors)


def scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy the parts of a flat tensor to the tensors that were gathered in it."""
    LISTS._foreach_copy_(list(tensors), list(_unflatten_dense_tensors(flat, tensors)))


def pack(pieces: Sequence[Piece]) -> Piece:
    """Copy small pieces of one kind, with whole blocks, into one; `unpack` brings results home."""
    columns: Any = zip(*(piece.values for piece in pieces), strict=True)
    values = [None if column[0] is None else gather(column) for column in columns]
    key = _keys(pieces) if any(piece.key for piece in pieces) else 0
    return Piece(values, gather([piece.gradient for piece in pieces]), key, pieces[0].block)


def _keys(pieces: Sequence[Piece]) -> Tensor:
    """Return for each element the key with which it gets the bits that it has in its own piece."""
    counts = [piece.count for piece in pieces]
    firsts = accumulate(counts, initial=0)
    keys = [moved(piece.key, -first) for piece, first in zip(pieces, firsts, strict=False)]
    whole = torch.zeros(sum(counts), dtype=torch.int32, device=pieces[0].gradient.device)
    LISTS._foreach_add_(list(whole.split(counts)), keys)  # faster than repeat_interleave
    return whole


def unpack(packed: Piece, pieces: Sequence[Piece]) -> None:
    """Copy the values of a pack to where they are kept."""
    columns: Any = zip(*(piece.values for piece in pieces), strict=True)
    for flat, column in zip(packed.values, columns, strict=True):
        if flat is not None:
            scatter(flat, column)


def by_kind(pieces: Iterable[Piece]) -> Iterable[list[Piece]]:
    """Group the pieces that can be stepped together."""
    kinds: dict[PieceKind, list[Piece]] = {}
    for piece in pieces:
        kinds.setdefault(piece.kind, []).append(piece)
    return kinds.values()
