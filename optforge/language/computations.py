"""The computations of functions of whole arrays, on the rows of a layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import Tensor

from optforge.language.function import Apply, Function, Kind
from optforge.language.layout import Layout, Shape
from optforge.language.orthogonal import orthogonalized


def computation(
    layout: Layout, function: Function, kinds: tuple[int, ...], dtype: torch.dtype, arrays: bool
) -> Apply:
    """Return the computation of a function on values of some kinds.

    Args:
        layout: Layout of the arrays in a row.
        function: A row of the table that accepts these kinds.
        kinds: Kinds of the arguments. If the largest has a shape, values of one number per array
            must be spread to it first.
        dtype: Type of the values.
        arrays: Whether values are NumPy arrays instead of tensors.

    Returns:
        The computation, on arguments ``[..., width of their kind]``.

    Example:
        >>> from optforge.language.functions import FUNCTIONS
        >>> tree = (Kind.TREE,)
        >>> norm = computation(Layout((2, 1)), FUNCTIONS["norm"], tree, torch.float32, False)
        >>> norm(torch.tensor([[3.0, 4.0, 2.0]]))
        tensor([[5., 2.]])
    """
    largest = max(kinds, default=0)
    if function.form == "by_role":
        return _chosen_by_role(layout, function.result(kinds), dtype, arrays)
    if largest < Kind.TREE or function.on_array is None:
        return function.apply_numpy if arrays else function.apply
    if function.name == "norm" and largest == Kind.TREE:
        return layout.norms_numpy if arrays else layout.norms
    if function.form == "matrix":
        return _orthogonalized(layout, kinds[0])
    if function.form == "product":
        return _product(layout, kinds[0], kinds[1], function.result(kinds))
    if function.form == "transpose":
        return _transposed(layout, kinds[0])
    wide = _reduced if function.form == "per_array" else _mapped
    return wide(layout, function.on_array(numpy if arrays else torch), largest)


def _reduced(layout: Layout, function: Callable[[Any], Any], kind: int) -> Callable[[Any], Any]:
    """Return the function that computes one number per array.

    Args:
        function: Maps ``[..., rows, columns]`` to ``[..., 1, 1]``.
        kind: Kind of the values; it must have a shape.

    Returns:
        A function from ``[..., width]`` to ``[..., arrays]``; an empty array becomes 0.
    """
    pieces = layout.pieces(kind)

    def apply(value: Any) -> Any:
        lead = value.shape[:-1]
        result = _zeros(value, (*lead, len(pieces)))
        for number, (place, shape) in enumerate(pieces):
            if shape[0] * shape[1]:
                part = value[..., place].reshape(*lead, *shape)
                result[..., number] = function(part).reshape(lead)
        return result

    return apply


def _mapped(layout: Layout, function: Callable[[Any], Any], kind: int) -> Callable[[Any], Any]:
    """Return the function that changes each array in its place, broadcasting reduced results.

    Args:
        function: Maps ``[..., rows, columns]`` to a result that broadcasts to this shape.
        kind: Kind of the values; it must have a shape.

    Returns:
        A function from ``[..., width]`` to the same shape.
    """
    pieces = layout.pieces(kind)

    def apply(value: Any) -> Any:
        lead, result = value.shape[:-1], _zeros(value, value.shape)
        for place, shape in pieces:
            if shape[0] * shape[1]:
                old = value[..., place].reshape(*lead, *shape)
                new = _zeros(old, old.shape)
                new[...] = function(old)
                result[..., place] = new.reshape(*lead, -1)
        return result

    return apply


def _chosen_by_role(
    layout: Layout, kind: int, dtype: torch.dtype, arrays: bool
) -> Callable[[Any, Any], Any]:
    """Return the function that takes hidden matrices from one value, other arrays from another.

    Args:
        kind: Kind of the result, ``ARRAY`` or one that has a shape.
        dtype: Type of the result.
        arrays: Whether values are NumPy arrays instead of tensors.
    """
    roles = numpy.array(layout.roles, dtype=bool)
    mask = roles if kind == Kind.ARRAY else numpy.repeat(roles, layout.sizes_of(kind))
    there = torch.from_numpy(mask).to(layout.device)
    if arrays:
        wanted = torch.zeros(0, dtype=dtype).numpy().dtype
        return lambda x, y: numpy.where(mask, x, y).astype(wanted, copy=False)

    def apply(x: Any, y: Any) -> Tensor:
        if isinstance(x, float):  # two floats would be rounded to torch's default dtype
            x = torch.full((), x, dtype=dtype, device=layout.device)
        return torch.where(there, x, y)

    return apply


def _transposed(layout: Layout, kind: int) -> Callable[[Any], Any]:
    """Return the transposition of hidden matrices: ``[..., width]`` to ``[..., width]``.

    Args:
        kind: Kind of the values; it must have a shape.
    """
    order = numpy.arange(layout.width(kind))
    for place, shape in _matrix_pieces(layout, kind):
        order[place] = order[place].reshape(shape).T.flatten()
    indices = torch.from_numpy(order).to(layout.device)

    def apply(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.index_select(-1, indices)
        return numpy.take(value, order, axis=-1)

    return apply


def _orthogonalized(layout: Layout, kind: int) -> Callable[[Any], Any]:
    """Return the function that orthogonalizes hidden matrices, those of the same shape at once.

    Args:
        kind: Kind of the values; it must have a shape.

    Returns:
        A function from ``[..., width]`` to the same shape, for tensors or NumPy arrays; other
        arrays become their signs.
    """
    groups = _groups(layout, kind)

    def apply(value: Any) -> Any:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(value)
        result = torch.where(tensor != tensor, tensor, torch.sign(tensor))
        for shape, places in groups.items():
            stacked = torch.stack([tensor[..., p].reshape(-1, *shape) for p in places])
            for place, part in zip(places, orthogonalized(stacked), strict=True):
                result[..., place] = part.reshape(*tensor.shape[:-1], -1)
        return result if isinstance(value, Tensor) else result.numpy()

    return apply


def _product(layout: Layout, left: int, right: int, kind: int) -> Callable[[Any, Any], Any]:
    """Return the function that multiplies hidden matrices, and other arrays elementwise.

    Args:
        left: Kind of the first value.
        right: Kind of the second value.
        kind: Kind of the result.
    """
    pieces = (layout.pieces(k) for k in (left, right, kind))
    table = list(zip(layout.roles, *pieces, strict=True))

    def apply(x: Any, y: Any) -> Any:
        a, b = (v if isinstance(v, Tensor) else torch.from_numpy(v) for v in (x, y))
        lead = a.shape[:-1]
        result = a.new_empty((*lead, layout.width(kind)))
        for is_matrix, (of_a, first), (of_b, second), (place, _) in table:
            if is_matrix:
                matrix, other = a[..., of_a], b[..., of_b]
                product = matrix.reshape(*lead, *first) @ other.reshape(*lead, *second)
                result[..., place] = product.reshape(*lead, -1)
            else:
                result[..., place] = a[..., of_a] * b[..., of_b]
        return result if isinstance(x, Tensor) else result.numpy()

    return apply


def _matrix_pieces(layout: Layout, kind: int) -> list[tuple[slice, Shape]]:
    pieces = zip(layout.pieces(kind), layout.roles, strict=True)
    return [piece for piece, is_matrix in pieces if is_matrix]


def _groups(layout: Layout, kind: int) -> dict[Shape, list[slice]]:
    """Return the places of the hidden matrices, by their shape."""
    groups: dict[Shape, list[slice]] = {}
    for place, shape in _matrix_pieces(layout, kind):
        groups.setdefault(shape, []).append(place)
    return groups


def _zeros(like: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(like, Tensor):
        return like.new_zeros(shape)
    return numpy.zeros(shape, like.dtype)
