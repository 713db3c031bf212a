"""How the parameter arrays of a model lie in one flat row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from optforge.language.functions import Kind


@dataclass(frozen=True)
class Layout:
    """The segments of a flat row: one array of the model after the other.

    Args:
        sizes: Number of elements of each array; an array may be empty.
        device: Where rows live.

    Example:
        >>> layout = Layout((2, 1))
        >>> layout.squares_by_array(torch.tensor([[3.0, 4.0, 2.0]]))
        tensor([[25.,  4.]])
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

    def squares_by_array(self, tree: Tensor) -> Tensor:
        """Sum the squares of each array: ``[rows, elements]`` to ``[rows, arrays]``."""
        parts = torch.split(tree, list(self.sizes), dim=-1)
        return torch.stack([torch.linalg.vector_norm(p, dim=-1).square_() for p in parts], -1)

    def norms(self, tree: Tensor) -> Tensor:
        """Euclidean norm of each array: ``[rows, elements]`` to ``[rows, arrays]``."""
        parts = torch.split(tree, list(self.sizes), dim=-1)
        return torch.stack([torch.linalg.vector_norm(p, dim=-1) for p in parts], -1)

    def spread(self, value: Tensor, kind: int) -> Tensor:
        """Repeat one number per array over its elements; other kinds stay as they are."""
        return value.index_select(-1, self.segments) if kind == Kind.ARRAY else value


def layout_of(shapes: Sequence[Sequence[int]], device: str = "cpu") -> Layout:
    """Build the layout of arrays with these shapes.

    Example:
        >>> layout_of([(2, 3), ()]).sizes
        (6, 1)
    """
    return Layout(tuple(torch.Size(shape).numel() for shape in shapes), device)
