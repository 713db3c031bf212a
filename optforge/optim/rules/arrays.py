"""Primitive operations that need the shape of an array: its rows and columns, or all of it.

An array of any shape is seen as ``[rows, columns]``, dimensions after the first flattened; results
have the array's own shape again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from optforge.language import FUNCTIONS, Kind
from optforge.language.function import SIDES
from optforge.language.layout import as_matrix
from optforge.language.orthogonal import orthogonalized

LINES = tuple(name for name, row in FUNCTIONS.items() if row.form == "lines")


def state_shape(kind: int, shape: Sequence[int], is_matrix: bool) -> tuple[int, ...]:
    """Return the shape of what a rule holds of one array.

    Args:
        kind: What it holds, one number an array or more.
        shape: Of the array.
        is_matrix: Whether the array is a hidden matrix.

    Example:
        >>> state_shape(Kind.ROW_SQUARE, (8, 3, 2), True), state_shape(Kind.ROW_SQUARE, (8,), False)
        ((8, 8), (8,))
    """
    if kind == Kind.ARRAY:
        return ()
    if kind == Kind.TREE or not is_matrix:
        return tuple(shape)
    sides = dict(zip("rc", as_matrix(shape), strict=True))
    first, second = SIDES[kind]
    return sides[first], sides[second]


def _two_sided(x: Tensor) -> Tensor:
    return x.reshape(as_matrix(x.shape))


def _like(x: Tensor, like: Tensor | None) -> Tensor:
    return x if like is None else x.reshape(like.shape)


def mean(x: Tensor) -> Tensor:
    """Return the mean of all elements; 0 of an empty array."""
    return x.sum() / (x.numel() or 1)  # also right for unequal shards


def rms(x: Tensor) -> Tensor:
    """Return the root mean square of all elements; 0 of an empty array."""
    return torch.sqrt(mean(x * x))


def _lines(name: str) -> Callable[[Tensor], Tensor]:
    """Build a function of rows or columns, spread back over the array."""
    on_array = FUNCTIONS[name].on_array
    assert on_array is not None
    reduced = on_array(torch)

    def apply(x: Tensor) -> Tensor:
        table = _two_sided(x)
        return reduced(table).expand(table.shape).reshape(x.shape)

    return apply


def _whole(reduced: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Build a function of the one column of an array that has no more, spread back over it."""
    return lambda x: torch.ones_like(x) * reduced(x)


def _transpose(x: Tensor, like: Tensor | None = None) -> Tensor:
    return _like(_two_sided(x).mT, like)


def _matmul(x: Tensor, y: Tensor, like: Tensor | None = None) -> Tensor:
    return _like(_two_sided(x) @ _two_sided(y), like)


def _orthogonalize(x: Tensor) -> Tensor:
    return orthogonalized(_two_sided(x)).reshape(x.shape)


def orthogonalize_each(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Orthogonalise matrices, those of one shape in one call."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, x in enumerate(tensors):
        places.setdefault((as_matrix(x.shape), x.dtype), []).append(place)
    results = list(tensors)
    for alike in places.values():
        stacked = orthogonalized(torch.stack([_two_sided(tensors[place]) for place in alike]))
        for place, result in zip(alike, stacked, strict=True):
            results[place] = result.reshape(tensors[place].shape)
    return results


def _spread_to(kind: int) -> Callable[[Any, Tensor], Tensor]:
    """Build the function that repeats a number over what a hidden matrix has of a kind."""
    return lambda x, weight: weight.new_ones(state_shape(kind, weight.shape, True)) * x


SPREADS: Mapping[int, str] = MappingProxyType(
    {int(kind): f"spread_{kind.name.lower()}" for kind in Kind if kind != Kind.SCALAR}
    | {int(Kind.TREE): "spread"}
)
# They need rows and columns: arrays must be whole, and have their shape.
SHAPED: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {name: _lines(name) for name in LINES}
    | {"transpose": _transpose, "matmul": _matmul, "orthogonalize": _orthogonalize}
    | {SPREADS[kind]: _spread_to(kind) for kind in SPREADS if kind > Kind.TREE}
)
# They need all elements of an array, whatever its shape is.
WHOLE: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "norm": torch.linalg.vector_norm,
        "mean": mean,
        "rms": rms,
        "whole_mean": _whole(mean),
        "whole_norm": _whole(torch.linalg.vector_norm),
        "whole_rms": _whole(rms),
        SPREADS[Kind.ARRAY]: _spread_to(Kind.ARRAY),
    }
)
