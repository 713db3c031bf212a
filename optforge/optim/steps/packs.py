"""Small flat parameters that are stepped together: copied into one, or gathered in lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from optforge.optim.precision.rounding import moved
from optforge.optim.steps.flat import FlatParameter
from optforge.optim.steps.update import Values

WITHOUT_LIMIT = 1 << 62  # elements of a batch, where there is no cache to fit
T = TypeVar("T")
LISTS: Any = torch  # its list operations are public by custom, not by type


def gather(tensors: Sequence[Tensor]) -> Tensor:
    """Copy tensors of one dtype into one, without a graph; `scatter` brings results home."""
    return _flatten_dense_tensors([tensor.detach() for tensor in tensors])


def scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy the parts of a flat tensor to the tensors that were gathered in it."""
    LISTS._foreach_copy_(list(tensors), list(_unflatten_dense_tensors(flat, tensors)))


def packed(parts: Sequence[FlatParameter]) -> FlatParameter:
    """Copy small parts of one kind, with whole blocks, into one; `unpack` brings results home."""
    columns = zip(*(part.values for part in parts), strict=True)
    flat: list[Any] = [None if column[0] is None else gather(column) for column in columns]
    key = _keys(parts) if any(part.key for part in parts) else 0
    gradient = gather([part.gradient for part in parts])
    return FlatParameter(Values(*flat), gradient, key, parts[0].block)


def _keys(parts: Sequence[FlatParameter]) -> Tensor:
    """Return for each element the key with which it gets the bits that it has in its own part."""
    counts = [part.gradient.numel() for part in parts]
    firsts = accumulate(counts, initial=0)
    keys = [moved(part.key, -first) for part, first in zip(parts, firsts, strict=False)]
    whole = torch.zeros(sum(counts), dtype=torch.int32, device=parts[0].gradient.device)
    LISTS._foreach_add_(list(whole.split(counts)), keys)  # faster than repeat_interleave
    return whole


def unpack(pack: FlatParameter, parts: Sequence[FlatParameter]) -> None:
    """Copy the values of a pack to where they are kept."""
    for flat, column in zip(pack.values, zip(*(p.values for p in parts), strict=True), strict=True):
        if flat is not None:
            scatter(flat, column)


def batched(items: Iterable[T], count: Callable[[T], int], size: int) -> Iterator[list[T]]:
    """Gather consecutive items, so that those of a batch have at most `size` elements."""
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
