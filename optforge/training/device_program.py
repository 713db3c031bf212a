"""The form of a rule that a device runs: stages over values in scratch, in memory or constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from optforge.language import Kind
from optforge.language.function import Apply


class Place(IntEnum):
    """The place of a value while the stages of a rule run."""

    SCRATCH = 0  # of one tile, until the end of its run; 0 is the weight, 1 the gradient
    SLOT = 1  # in memory, for every row of the candidate: states, and what outlives a run
    STATIC = 2  # one number for all rows: a constant, or what the schedule decides


class Operand(NamedTuple):
    """A value, given by its place, its number there and its kind."""

    place: Place
    number: int
    kind: int


class Operation(NamedTuple):
    """An elementwise operation of a run."""

    name: str
    target: Operand | None  # None: subtract it from the weight
    arguments: tuple[Operand, ...]


@dataclass
class ElementwiseRun:
    """Elementwise operations over all elements of values that have a shape.

    Args:
        kind: Kind of the values whose elements they process.
        operations: The operations in order.
    """

    kind: int
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Wide:
    """A computation that needs whole arrays, or all of them.

    Args:
        key: Key that is equal for the same computation on values of the same kinds.
        apply: Computes the result from the arguments, each ``[rows, width]``.
        arguments: The arguments: slots and static values.
        target: Slot of the result.
    """

    key: tuple[str, ...]
    apply: Apply
    arguments: tuple[Operand, ...]
    target: Operand


WEIGHT, GRADIENT = (Operand(Place.SCRATCH, number, int(Kind.TREE)) for number in (0, 1))


@dataclass(frozen=True)
class Lowered:
    """A rule as a sequence of stages.

    Args:
        stages: The stages in order; the last ones write the next states and the weights.
        slots: Kind of each slot; the first slots are the states.
        shadows: For states with one number per row or array, the slot of the next value. It
            replaces the present value when all elements have been processed.
        constants: Constants, which are the first static values; the scheduled ones follow.
        scratch: Number of scratch values that a tile needs.
    """

    stages: tuple[ElementwiseRun | Wide, ...]
    slots: tuple[int, ...]
    shadows: Mapping[int, int]
    constants: tuple[float, ...]
    scratch: int
