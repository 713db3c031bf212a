"""How the parameter arrays of a model lie in one flat row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy
import torch
from torch import Tensor

from optforge.language.function import SIDES, Kind
from optforge.language.orthogonal import orthogonalized

Shape = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """The segments of a flat row: one array of the model after the other.

    Args:
        sizes: Number of elements of each array; an array may be empty.
        device: Where rows live.
        shapes: Rows and columns of each array, as :func:`as_matrix` gives them; without, each is
            one column.
        matrices: Of each array whether it is a hidden matrix, which products and
            ``orthogonalize`` see as one; without, none is.

    Example:
        >>> Layout((2, 1)).norms(torch.tensor([[3.0, 4.0, 2.0]]))
        tensor([[5., 2.]])
    """

    sizes: tuple[int, ...]
    device: str = "cpu"
    shapes: tuple[Shape, ...] = ()
    matrices: tuple[bool, ...] = ()

    @cached_property
    def elements(self) -> int:
        """Elements of a whole row."""
        return sum(self.sizes)

    @cached_property
    def segments(self) -> Tensor:
        """For each element the index of its array, int64 ``[elements]``."""
        return self.segments_of(Kind.TREE)

    def segments_of(self, kind: int) -> Tensor:
        """For each element of a value of a kind that has a shape the index of its array, int64."""
        arrays = torch.arange(len(self.sizes), device=self.device)
        sizes = torch.tensor(self.sizes_of(kind), device=self.device)
        return torch.repeat_interleave(arrays, sizes)

    def width(self, kind: int) -> int:
        """Return the size of the last dimension of a value of this kind."""
        if kind <= Kind.TREE:
            return (1, len(self.sizes), self.elements)[kind]
        return sum(self.sizes_of(kind))

    def shapes_of(self, kind: int) -> tuple[Shape, ...]:
        """Return rows and columns of each array in a value of a kind that has a shape."""
        shapes = self.shapes or tuple((size, 1) for size in self.sizes)
        if kind == Kind.TREE or not self.matrices:
            return shapes
        first, second = ("rc".index(side) for side in SIDES[kind])
        return tuple(
            (shape[first], shape[second]) if is_matrix else shape
            for shape, is_matrix in zip(shapes, self.matrices, strict=True)
        )

    def sizes_of(self, kind: int) -> tuple[int, ...]:
        """Return the number of elements of each array in a value of a kind that has a shape."""
        if kind == Kind.TREE:
            return self.sizes
        return tuple(rows * columns for rows, columns in self.shapes_of(kind))

    def norms(self, tree: Tensor) -> Tensor:
        """Euclidean norm of each array: ``[rows, elements]`` to ``[rows, arrays]``."""
        parts = torch.split(tree, list(self.sizes), dim=-1)
        return torch.stack([torch.linalg.vector_norm(p, dim=-1) for p in parts], -1)

    def spread(self, value: Tensor) -> Tensor:
        """Repeat one number per array over its elements."""
        return value.index_select(-1, self.segments)

    def norms_numpy(self, tree: numpy.ndarray) -> numpy.ndarray:
        """As :meth:`norms`, on NumPy arrays."""
        starts = numpy.cumsum((0, *self.sizes[:-1]))
        filled = numpy.array(self.sizes) > 0
        result = numpy.zeros((*tree.shape[:-1], len(self.sizes)), tree.dtype)
        result[..., filled] = numpy.add.reduceat(tree * tree, starts[filled], axis=-1)
        return numpy.sqrt(result)

    def spread_numpy(self, value: numpy.ndarray) -> numpy.ndarray:
        """As :meth:`spread`, on NumPy arrays."""
        return numpy.repeat(value, self.sizes, axis=-1)

    def spread_to(self, kind: int, arrays: bool) -> Callable[[Any], Any]:
        """Return the function that repeats one number per array over a value of a kind.

        Args:
            kind: One that has a shape.
            arrays: Whether values are NumPy arrays instead of tensors.
        """
        if kind == Kind.TREE:
            return self.spread_numpy if arrays else self.spread
        sizes, segments = self.sizes_of(kind), self.segments_of(kind)
        if arrays:
            return lambda value: numpy.repeat(value, sizes, axis=-1)
        return lambda value: value.index_select(-1, segments)

    def reduced(self, function: Callable[[Any], Any], kind: int) -> Callable[[Any], Any]:
        """Return the function that makes one number of each array.

        Args:
            function: From ``[..., rows, columns]`` to ``[..., 1, 1]``.
            kind: Of the values, one that has a shape.

        Returns:
            From ``[..., width]`` to ``[..., arrays]``; an empty array becomes 0.
        """
        pieces = self._pieces(kind)

        def apply(value: Any) -> Any:
            lead = value.shape[:-1]
            result = _zeros(value, (*lead, len(pieces)))
            for number, (place, shape) in enumerate(pieces):
                if shape[0] * shape[1]:
                    part = value[..., place].reshape(*lead, *shape)
                    result[..., number] = function(part).reshape(lead)
            return result

        return apply

    def mapped(self, function: Callable[[Any], Any], kind: int) -> Callable[[Any], Any]:
        """Return the function that changes each array, or broadcasts what is left of it, in place.

        Args:
            function: From ``[..., rows, columns]`` to what broadcasts to it.
            kind: Of the values, one that has a shape.

        Returns:
            From ``[..., width]`` to the same shape.
        """
        pieces = self._pieces(kind)

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

    def chosen_by_role(
        self, kind: int, dtype: torch.dtype, arrays: bool
    ) -> Callable[[Any, Any], Any]:
        """Return the function that takes hidden matrices from one value, other arrays from another.

        Args:
            kind: Of the result, ``ARRAY`` or one that has a shape.
            dtype: Of the result.
            arrays: Whether values are NumPy arrays instead of tensors.
        """
        roles = numpy.array(self.matrices or (False,) * len(self.sizes), dtype=bool)
        mask = roles if kind == Kind.ARRAY else numpy.repeat(roles, self.sizes_of(kind))
        there = torch.from_numpy(mask).to(self.device)
        if arrays:
            wanted = torch.zeros(0, dtype=dtype).numpy().dtype
            return lambda x, y: numpy.where(mask, x, y).astype(wanted, copy=False)

        def apply(x: Any, y: Any) -> Tensor:
            if isinstance(x, float):  # two floats would be rounded to torch's default dtype
                x = torch.full((), x, dtype=dtype, device=self.device)
            return torch.where(there, x, y)

        return apply

    def transposed(self, kind: int) -> Callable[[Any], Any]:
        """Return the transposition of hidden matrices: ``[..., width]`` to ``[..., width]``.

        Args:
            kind: Of the values, one that has a shape.
        """
        order = numpy.arange(self.width(kind))
        for place, shape in self._matrix_pieces(kind):
            order[place] = order[place].reshape(shape).T.flatten()
        indices = torch.from_numpy(order).to(self.device)

        def apply(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.index_select(-1, indices)
            return numpy.take(value, order, axis=-1)

        return apply

    def orthogonalized(self, kind: int) -> Callable[[Any], Any]:
        """Return the function that orthogonalises hidden matrices, those of one shape at once.

        Args:
            kind: Of the values, one that has a shape.

        Returns:
            From ``[..., width]`` to the same shape, tensors or NumPy arrays; other arrays become
            their signs.
        """
        groups = self._groups(kind)

        def apply(value: Any) -> Any:
            tensor = value if isinstance(value, Tensor) else torch.from_numpy(value)
            result = torch.where(tensor != tensor, tensor, torch.sign(tensor))
            for shape, places in groups.items():
                stacked = torch.stack([tensor[..., p].reshape(-1, *shape) for p in places])
                for place, part in zip(places, orthogonalized(stacked), strict=True):
                    result[..., place] = part.reshape(*tensor.shape[:-1], -1)
            return result if isinstance(value, Tensor) else result.numpy()

        return apply

    def product(self, left: int, right: int, kind: int) -> Callable[[Any, Any], Any]:
        """Return the function that multiplies hidden matrices, and other arrays element by element.

        Args:
            left: Kind of the first value.
            right: Kind of the second value.
            kind: Of the result.
        """
        pieces = (self._pieces(k) for k in (left, right, kind))
        roles = self.matrices or (False,) * len(self.sizes)
        table = list(zip(roles, *pieces, strict=True))

        def apply(x: Any, y: Any) -> Any:
            a, b = (v if isinstance(v, Tensor) else torch.from_numpy(v) for v in (x, y))
            lead = a.shape[:-1]
            result = a.new_empty((*lead, self.width(kind)))
            for is_matrix, (of_a, first), (of_b, second), (place, _) in table:
                if is_matrix:
                    one, other = a[..., of_a], b[..., of_b]
                    made = one.reshape(*lead, *first) @ other.reshape(*lead, *second)
                    result[..., place] = made.reshape(*lead, -1)
                else:
                    result[..., place] = a[..., of_a] * b[..., of_b]
            return result if isinstance(x, Tensor) else result.numpy()

        return apply

    def _pieces(self, kind: int) -> list[tuple[slice, Shape]]:
        """Where each array lies in a value, and its shape."""
        sizes = self.sizes_of(kind)
        ends = list(accumulate(sizes))
        shapes = self.shapes_of(kind)
        return [
            (slice(end - size, end), shape)
            for end, size, shape in zip(ends, sizes, shapes, strict=True)
        ]

    def _matrix_pieces(self, kind: int) -> list[tuple[slice, Shape]]:
        roles = self.matrices or (False,) * len(self.sizes)
        pieces = zip(self._pieces(kind), roles, strict=True)
        return [piece for piece, is_matrix in pieces if is_matrix]

    def _groups(self, kind: int) -> dict[Shape, list[slice]]:
        """Places of the hidden matrices, by their shape."""
        groups: dict[Shape, list[slice]] = {}
        for place, shape in self._matrix_pieces(kind):
            groups.setdefault(shape, []).append(place)
        return groups


def _zeros(like: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(like, Tensor):
        return like.new_zeros(shape)
    return numpy.zeros(shape, like.dtype)


def as_matrix(shape: Sequence[int]) -> Shape:
    """Return rows and columns of an array: all dimensions but the first are flattened.

    Example:
        >>> as_matrix((8, 3, 3, 3)), as_matrix((5,)), as_matrix(())
        ((8, 27), (5, 1), (1, 1))
    """
    rows = shape[0] if len(shape) else 1
    return rows, torch.Size(shape[1:]).numel()


def layout_of(
    shapes: Sequence[Sequence[int]], device: str = "cpu", matrices: Sequence[bool] | None = None
) -> Layout:
    """Build the layout of arrays with these shapes.

    Args:
        shapes: Of the arrays.
        device: Where rows live.
        matrices: Of each array whether it is a hidden matrix; by default all that have two sides
            of more than one element are.

    Example:
        >>> layout_of([(2, 3), ()]).sizes, layout_of([(2, 3), ()]).matrices
        ((6, 1), (True, False))
    """
    flat = tuple(as_matrix(tuple(shape)) for shape in shapes)
    sides = [min(shape) > 1 for shape in flat]
    roles = sides if matrices is None else [m and s for m, s in zip(matrices, sides, strict=True)]
    sizes = tuple(torch.Size(shape).numel() for shape in shapes)
    return Layout(sizes, device, flat, tuple(roles))
