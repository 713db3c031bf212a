"""Running a program in float64 while watching it: the oracle that checks the steps.

It shares the table of functions with the interpreter, but not its compilation, and it can do what
the interpreter cannot: leave the guard of divisions out, disturb every value by its last place, and
see every live value on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy import ndarray

from optforge.analysis import liveness, state_kinds
from optforge.analysis.walk import Environment, walk
from optforge.language import FUNCTIONS, Kind, Layout, Program, Statement

LAYOUT = Layout((4, 3, 1))
_ULP = 2.0**-52
_LARGEST = 1e100


@dataclass(frozen=True)
class Stepped:
    """What one step gave.

    Args:
        update: ``[elements]``.
        states: Next states, ``[1]``, ``[arrays]`` or ``[elements]``.
        clean: For each element, whether every value on the way to it was finite and far from
            overflow, bool ``[elements]``; a value that all elements share counts for each.
    """

    update: ndarray
    states: tuple[ndarray, ...]
    clean: ndarray


class Evaluator:
    """A program ready to run in float64 on rows of :data:`LAYOUT`.

    Args:
        program: A valid program.
        guarded: Whether divisions have their guard.

    Example:
        >>> from optforge.language import load_rule
        >>> rule = Evaluator(load_rule("signum"))
        >>> ones = numpy.ones(LAYOUT.elements)
        >>> float(rule.step(0 * ones, ones, rule.zeros(), 1.0).update[0])
        0.001
    """

    def __init__(self, program: Program, guarded: bool = True) -> None:
        self.program, self.guarded = program, guarded
        self.kinds, self._live = state_kinds(program), liveness(program)

    def zeros(self) -> tuple[ndarray, ...]:
        """Give the states before the first step."""
        return tuple(numpy.zeros(LAYOUT.width(kind)) for kind in self.kinds)

    def step(
        self,
        weights: ndarray,
        gradients: ndarray,
        states: tuple[ndarray, ...],
        lr: float,
        disturb: numpy.random.Generator | None = None,
    ) -> Stepped:
        """Compute one step; ``disturb`` moves inputs, constants and values by up to one ulp."""
        clean = numpy.ones(LAYOUT.elements, dtype=bool)

        def watched(value: ndarray, kind: int) -> tuple[ndarray, int]:
            if disturb is not None:
                value = value * (1 + _ULP * disturb.integers(-1, 2, value.shape))
            sound = numpy.abs(value) < _LARGEST
            clean[:] &= _spread(sound, kind, int(Kind.TREE))
            return value, kind

        def apply(
            number: int, statement: Statement, values: list[tuple[ndarray, int]]
        ) -> tuple[ndarray, int]:
            value, kind = self._apply(statement.function, values)
            return watched(value, kind) if self._live.across >> number & 1 else (value, kind)

        kinds = (Kind.TREE, Kind.TREE, *self.kinds, Kind.SCALAR)
        given = (weights, gradients, *states, numpy.array([lr]))
        with numpy.errstate(all="ignore"):
            inputs = [
                watched(value, int(kind)) if self._is_read(place) else (value, int(kind))
                for place, (value, kind) in enumerate(zip(given, kinds, strict=True))
            ]
            environment = Environment(
                self.program.parameters,
                inputs,
                lambda constant: watched(numpy.array([constant]), int(Kind.SCALAR)),
            )
            walk(self.program.statements, environment, apply)
            (update, _), *rest = [environment[name] for name in self.program.outputs]
        following = tuple(
            _spread(value, kind, wanted)
            for (value, kind), wanted in zip(rest, self.kinds, strict=True)
        )
        return Stepped(update, following, clean)

    def _is_read(self, place: int) -> bool:
        """Tell whether an input is anything but a dead state."""
        states = len(self.kinds)
        return not 2 <= place < 2 + states or bool(self._live.states >> (place - 2) & 1)

    def _apply(self, function: str, values: list[tuple[ndarray, int]]) -> tuple[ndarray, int]:
        row = FUNCTIONS[function]
        kinds = tuple(kind for _, kind in values)
        kind = int(row.result(kinds))
        if row.form == "per_array" and kinds[0] == Kind.TREE:
            return LAYOUT.norms_numpy(values[0][0]), kind
        widest = max(kinds, default=0)
        arrays = [
            _spread(value, k, widest) if widest == Kind.TREE else value for value, k in values
        ]
        if function == "divide" and not self.guarded:
            return arrays[0] / arrays[1], kind
        return numpy.atleast_1d(numpy.asarray(row.apply_numpy(*arrays), dtype=float)), kind


def _spread(value: ndarray, kind: int, wanted: int) -> ndarray:
    """Repeat a value of one kind to the width of another; scalars broadcast by themselves."""
    if kind == Kind.ARRAY and wanted == Kind.TREE:
        return LAYOUT.spread_numpy(value)
    return numpy.broadcast_to(value, (LAYOUT.width(wanted),)) if value.shape[-1] == 1 else value
