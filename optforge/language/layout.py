"""The layout of a model's parameter arrays in one flat row."""

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

Shape = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """The segments of a flat row: one array of the model after another.

    Args:
        sizes: Number of elements of each array; an array may be empty.
        device: Device of the rows.
        shapes: Rows and columns of each array, as from :func:`as_matrix`; by default each is one
            column.
        matrices: Whether each array is a hidden matrix, which products and ``orthogonalize`` treat
            as a matrix; by default none is.

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
        """Number of elements of a whole row."""
        return sum(self.sizes)

    @cached_property
    def segments(self) -> Tensor:
        """Index of the array of each element, int64 ``[elements]``."""
        return self.segments_of(Kind.TREE)

    def segments_of(self, kind: int) -> Tensor:
        """Return the index of the array of each element in a value with a shape, int64."""
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
        """Return the Euclidean norm of each array: ``[rows, elements]`` to ``[rows, arrays]``."""
        parts = torch.split(tree, list(self.sizes), dim=-1)
        return torch.stack([torch.linalg.vector_norm(p, dim=-1) for p in parts], -1)

    def spread(self, value: Tensor) -> Tensor:
        """Repeat one number per array over its elements."""
        return value.index_select(-1, self.segments)

    def norms_numpy(self, tree: numpy.ndarray) -> numpy.ndarray:
        """Return the same as :meth:`norms`, on NumPy arrays."""
        starts = numpy.cumsum((0, *self.sizes[:-1]))
        filled = numpy.array(self.sizes) > 0
        result = numpy.zeros((*tree.shape[:-1], len(self.sizes)), tree.dtype)
        result[..., filled] = numpy.add.reduceat(tree * tree, starts[filled], axis=-1)
        return numpy.sqrt(result)

    def spread_numpy(self, value: numpy.ndarray) -> numpy.ndarray:
        """Return the same as :meth:`spread`, on NumPy arrays."""
        return numpy.repeat(value, self.sizes, axis=-1)

    def spread_to(self, kind: int, arrays: bool) -> Callable[[Any], Any]:
        """Return the function that repeats one number per array over a value of a kind.

        Args:
            kind: Kind of the result; it must have a shape.
            arrays: Whether values are NumPy arrays instead of tensors.
        """
        if kind == Kind.TREE:
            return self.spread_numpy if arrays else self.spread
        sizes, segments = self.sizes_of(kind), self.segments_of(kind)
        if arrays:
            return lambda value: numpy.repeat(value, sizes, axis=-1)
        return lambda value: value.index_select(-1, segments)

    @cached_property
    def roles(self) -> tuple[bool, ...]:
        """Whether each array is a hidden matrix."""
        return self.matrices or (False,) * len(self.sizes)

    def pieces(self, kind: int) -> list[tuple[slice, Shape]]:
        """Return place and shape of each array in a value of a kind that has a shape."""
        sizes = self.sizes_of(kind)
        ends = list(accumulate(sizes))
        shapes = self.shapes_of(kind)
        return [
            (slice(end - size, end), shape)
            for end, size, shape in zip(ends, sizes, shapes, strict=True)
        ]


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
        shapes: Shapes of the arrays.
        device: Device of the rows.
        matrices: Whether each array is a hidden matrix; by default if it has two sides of more than
            one element.

    Example:
        >>> layout_of([(2, 3), ()]).sizes, layout_of([(2, 3), ()]).matrices
        ((6, 1), (True, False))
    """
    flat = tuple(as_matrix(tuple(shape)) for shape in shapes)
    sides = [min(shape) > 1 for shape in flat]
    roles = sides if matrices is None else [m and s for m, s in zip(matrices, sides, strict=True)]
    sizes = tuple(torch.Size(shape).numel() for shape in shapes)
    return Layout(sizes, device, flat, tuple(roles))
