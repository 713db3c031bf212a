"""How the parameter arrays of a model lie in one flat row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy
import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The segments of a flat row: one array of the model after the other.

    Args:
        sizes: Number of elements of each array; an array may be empty.
        device: Where rows live.

    Example:
        >>> Layout((2, 1)).norms(torch.tensor([[3.0, 4.0, 2.0]]))
        tensor([[5., 2.]])
    """

    sizes: tuple[int, ...]
    device: str = "cpu"

    @cached_property
    def elements(self) -> int:
        """Elements of a whole row."""
        return sum(self.sizes)

    @cached_property
    def segments(self) -> Tensor:
        """For each element the index of its array, int64 ``[elements]``."""
        arrays = torch.arange(len(self.sizes), device=self.device)
        return torch.repeat_interleave(arrays, torch.tensor(self.sizes, device=self.device))

    def width(self, kind: int) -> int:
        """Give the size of the last dimension of a value of this kind."""
        return (1, len(self.sizes), self.elements)[kind]

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


def layout_of(shapes: Sequence[Sequence[int]], device: str = "cpu") -> Layout:
    """Build the layout of arrays with these shapes.

    Example:
        >>> layout_of([(2, 3), ()]).sizes
        (6, 1)
    """
    return Layout(tuple(torch.Size(shape).numel() for shape in shapes), device)
