"""The kinds of variables in a program, and one function of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy
import torch

Apply = Callable[..., Any]
Engine = Callable[[Any], Apply]


class Kind(IntEnum):
    """The kind of a variable; a mixture of kinds broadcasts to the largest.

    Values of the kinds from ``TREE`` on have a shape. Two values of different shapes never mix;
    only ``matmul`` and ``transpose`` lead from one shape to another.

    Example:
        >>> max(Kind.SCALAR, Kind.TREE).name
        'TREE'
    """

    SCALAR = 0  # one number
    ARRAY = 1  # one number for each parameter array
    TREE = 2  # one number for each element of each parameter array: [rows, columns] of a matrix
    TRANSPOSED = 3  # [columns, rows] of each matrix; other arrays as they are
    ROW_SQUARE = 4  # [rows, rows] of each matrix, as g g^T; other arrays as they are
    COLUMN_SQUARE = 5  # [columns, columns] of each matrix, as g^T g; other arrays as they are


# The two sides of a matrix of each kind, and the kind that a product of two sides has.
SIDES: Mapping[int, str] = MappingProxyType(
    {Kind.TREE: "rc", Kind.TRANSPOSED: "cr", Kind.ROW_SQUARE: "rr", Kind.COLUMN_SQUARE: "cc"}
)
_KIND_OF_SIDES = {sides: kind for kind, sides in SIDES.items()}
_REFUSED = -1


@dataclass(frozen=True)
class Function:
    """A row of the table.

    Args:
        name: The name a program uses.
        arity: Number of arguments.
        form: How kinds combine: ``elementwise`` (largest kind of the arguments), ``per_array``
            (a tree becomes one scalar per array), ``whole`` (anything becomes a scalar),
            ``controlled`` (as elementwise, the last argument must be a scalar), ``constant``,
            ``clock`` (a scalar that the number of the step decides), ``lines`` (a number for
            each row or column of a tree, broadcast back), ``matrix`` (a matrix becomes another
            of its shape), ``by_role`` (as elementwise, but hidden matrices get the first
            argument and other arrays the second), ``transpose`` and ``product``.
        meaning: The guarded formula, as text.
        build: Returns the computation in one engine, ``torch`` or ``numpy``. Both have mostly the
            same names, and a call of NumPy costs half as much on small rows on the CPU. For forms
            that read whole arrays, this is the computation on a single number.
        cost: Floating-point operations per element; a transcendental function counts as 10.
        infix: The operator with which it is printed, if any.
        commutative: Whether the arguments may be exchanged.
        on_array: For forms that read arrays: the computation on one array, or on several of one
            shape, ``[..., rows, columns]``.
        belongs_to: The set of functions to which it belongs.
    """

    name: str
    arity: int
    form: str
    meaning: str
    build: Engine
    cost: int = 1
    infix: str | None = None
    commutative: bool = False
    on_array: Engine | None = None
    belongs_to: str = "paper"

    @cached_property
    def apply(self) -> Apply:
        """The computation on tensors."""
        return self.build(torch)

    @cached_property
    def apply_numpy(self) -> Apply:
        """The computation on NumPy arrays."""
        return self.build(numpy)

    def allows(self, kinds: tuple[int, ...]) -> bool:
        """Return whether arguments of these kinds are accepted."""
        return self._kind(kinds) != _REFUSED

    def result(self, kinds: tuple[int, ...]) -> int:
        """Return the kind of the result for accepted argument kinds."""
        return self._kind(kinds)

    def _kind(self, kinds: tuple[int, ...]) -> int:
        if self.form == "product":
            sides = [SIDES.get(kind, "") for kind in kinds]
            inner = all(sides) and sides[0][1] == sides[1][0]
            return int(_KIND_OF_SIDES[sides[0][0] + sides[1][1]]) if inner else _REFUSED
        if self.form == "transpose":
            sides = SIDES.get(kinds[0], "")
            return int(_KIND_OF_SIDES[sides[::-1]]) if sides else _REFUSED
        if not mixes(kinds) or (self.form == "controlled" and kinds[-1] != Kind.SCALAR):
            return _REFUSED
        if self.form in ("elementwise", "controlled", "lines", "matrix"):
            return max(kinds)
        if self.form == "by_role":
            return max(Kind.ARRAY, *kinds)
        if self.form == "per_array":
            return min(kinds[0], Kind.ARRAY)
        return Kind.SCALAR


def mixes(kinds: tuple[int, ...]) -> bool:
    """Return whether values of these kinds broadcast: all those with a shape must have the same.

    Example:
        >>> mixes((Kind.SCALAR, Kind.TREE)), mixes((Kind.TREE, Kind.TRANSPOSED))
        (True, False)
    """
    return len({kind for kind in kinds if kind >= Kind.TREE}) < 2
