"""A rule as a device runs it: stages over values in scratch, in memory or constant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from optforge.language import Kind
from optforge.language.function import Apply


class Place(IntEnum):
    """Where a value lives while the stages of a rule run."""

    SCRATCH = 0  # of one tile, until the end of its run; 0 is the weight, 1 the gradient
    SLOT = 1  # in memory, for every row of the candidate: states, and what outlives a run
    STATIC = 2  # one number for all rows: a constant, or what the schedule decides


class Operand(NamedTuple):
    """A value, by where it lives, its number there and its kind."""

    place: Place
    number: int
    kind: int


class Operation(NamedTuple):
    """One elementwise operation of a run."""

    name: str
    target: Operand | None  # None: subtract it from the weight
    arguments: tuple[Operand, ...]


@dataclass
class Run:
    """Elementwise operations over all elements of a kind that has a shape.

    Args:
        kind: Whose elements they walk over.
        operations: In order.
    """

    kind: int
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Wide:
    """A computation that sees whole arrays, or all of them.

    Args:
        key: Equal for the same computation on values of the same kinds.
        apply: On ``[rows, width]`` of each argument.
        arguments: Slots and static values.
        target: A slot.
    """

    key: tuple[str, ...]
    apply: Apply
    arguments: tuple[Operand, ...]
    target: Operand


WEIGHT, GRADIENT = (Operand(Place.SCRATCH, number, int(Kind.TREE)) for number in (0, 1))


@dataclass(frozen=True)
class Lowered:
    """A rule as stages.

    Args:
        stages: In order; the last ones write the next states and the weights.
        slots: Kind of each slot; the first are the states.
        shadows: For states with one number per row or array, the slot of the next value, which
            replaces the present one when all elements have been walked over.
        constants: The first static values; the scheduled ones follow.
        scratch: How many scratch values a tile needs.
    """

    stages: tuple[Run | Wide, ...]
    slots: tuple[int, ...]
    shadows: Mapping[int, int]
    constants: tuple[float, ...]
    scratch: int
