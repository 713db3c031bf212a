"""A reference interpreter in float64 that observes all values: the oracle that checks the steps.

It shares the table of functions with the interpreter, but not its compilation. Unlike the
interpreter, it can leave out the guard of divisions, perturb every value in its last place, and
observe every intermediate value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy
import torch
from numpy import ndarray

from optforge.analysis import liveness, state_kinds
from optforge.analysis.walk import Environment, walk
from optforge.language import FUNCTIONS, Kind, Layout, Program, Statement
from optforge.language.computations import computation
from optforge.language.function import Apply

LAYOUT = Layout((4, 3, 1))
# A wide and a tall hidden matrix, a table, a vector and a single number, for rules that see shapes.
SHAPED = Layout(
    sizes=(6, 6, 4, 3, 1),
    shapes=((2, 3), (3, 2), (2, 2), (3, 1), (1, 1)),
    matrices=(True, True, False, False, False),
)
_SHAPING = frozenset(("lines", "matrix", "by_role", "transpose", "product"))
_ULP = 2.0**-52
_LARGEST = 1e100


def layout_for(*programs: Program) -> Layout:
    """Return the layout on which programs are run: with shapes, if a program depends on shapes.

    Example:
        >>> from optforge.language import load_rule
        >>> layout_for(load_rule("lion")).elements, layout_for(load_rule("muon")).elements
        (8, 20)
    """
    forms = {FUNCTIONS[s.function].form for program in programs for s in program.statements}
    return SHAPED if forms & _SHAPING else LAYOUT


@dataclass(frozen=True)
class Disturbance:
    """Runs in which every input, constant and value is off by up to one unit in the last place.

    Args:
        runs: Number of runs, which go side by side.
        source: Random generator.
    """

    runs: int
    source: numpy.random.Generator

    def __call__(self, value: ndarray) -> ndarray:
        """Return ``[runs, width]`` from a value of all runs or ``[width]``."""
        shape = (self.runs, value.shape[-1])
        return value * (1 + _ULP * self.source.integers(-1, 2, shape))


@dataclass(frozen=True)
class Stepped:
    """The results of one step; with a disturbance, of all its runs.

    Args:
        update: The update, ``[elements]`` or ``[runs, elements]``.
        states: Next states, ``[width]`` or ``[runs, width]`` of their kind.
        clean: Whether every value on the way to an element was finite and far from overflow, bool
            ``[elements]``; a value shared by all elements counts for each. Disturbed runs are not
            looked at.
    """

    update: ndarray
    states: tuple[ndarray, ...]
    clean: ndarray


class ReferenceRule:
    """A program ready to run in float64 on rows of one layout.

    Args:
        program: A valid program.
        guarded: Whether divisions have their guard.
        layout: Layout of the rows; by default the result of :func:`layout_for`.

    Example:
        >>> from optforge.language import load_rule
        >>> rule = ReferenceRule(load_rule("signum"))
        >>> ones = numpy.ones(rule.layout.elements)
        >>> float(rule.step(0 * ones, ones, rule.zeros(), 1.0).update[0])
        0.001
    """

    def __init__(
        self, program: Program, guarded: bool = True, layout: Layout | None = None
    ) -> None:
        self.program, self.guarded = program, guarded
        self.layout = layout or layout_for(program)
        self.kinds, self._live = state_kinds(program), liveness(program)

    def zeros(self) -> tuple[ndarray, ...]:
        """Return the states before the first step."""
        return tuple(numpy.zeros(self.layout.width(kind)) for kind in self.kinds)

    def step(
        self,
        weights: ndarray,
        gradients: ndarray,
        states: tuple[ndarray, ...],
        lr: float,
        disturbed: Disturbance | None = None,
        moment: tuple[int, int] = (0, 1),
    ) -> Stepped:
        """Compute one step.

        Args:
            weights: ``[elements]``.
            gradients: ``[elements]``.
            states: States as returned by the last step.
            lr: Value of the schedule.
            disturbed: Perturbs inputs, constants and values; None for one run as it is.
            moment: Number of the step, from 0, and the number of all steps.
        """
        clean = numpy.ones(self.layout.elements, dtype=bool)

        def watched(value: ndarray, kind: int) -> tuple[ndarray, int]:
            if disturbed is not None:
                return disturbed(value), kind
            clean[:] &= self._by_element(numpy.abs(value) < _LARGEST, kind)
            return value, kind

        def apply(
            number: int, statement: Statement, values: list[tuple[ndarray, int]]
        ) -> tuple[ndarray, int]:
            value, kind = self._apply(statement.function, values, moment)
            return watched(value, kind) if self._live.across >> number & 1 else (value, kind)

        kinds = (Kind.TREE, Kind.TREE, *self.kinds, Kind.SCALAR)
        values_in = (weights, gradients, *states, numpy.array([lr]))
        with numpy.errstate(all="ignore"):
            inputs = [
                watched(value, int(kind)) if self._is_read(place) else (value, int(kind))
                for place, (value, kind) in enumerate(zip(values_in, kinds, strict=True))
            ]
            environment = Environment(
                self.program.parameters,
                inputs,
                lambda constant: watched(numpy.array([constant]), int(Kind.SCALAR)),
            )
            walk(self.program.statements, environment, apply)
            (update, _), *rest = [environment[name] for name in self.program.outputs]
        following = tuple(
            _spread(self.layout, value, kind, wanted)
            for (value, kind), wanted in zip(rest, self.kinds, strict=True)
        )
        return Stepped(update, following, clean)

    def _is_read(self, place: int) -> bool:
        """Return whether an input is read, that is, not a dead state."""
        states = len(self.kinds)
        return not 2 <= place < 2 + states or bool(self._live.states >> (place - 2) & 1)

    def _by_element(self, sound: ndarray, kind: int) -> ndarray:
        """Return for each element whether its inputs are sound; a product mixes all of an array."""
        if kind <= Kind.TREE:
            return _spread(self.layout, sound, kind, int(Kind.TREE))
        ends = numpy.cumsum(self.layout.sizes_of(kind))[:-1]
        arrays = numpy.array([part.all() for part in numpy.split(sound, ends)])
        return self.layout.spread_numpy(arrays)

    def _apply(
        self, function: str, values: list[tuple[ndarray, int]], moment: tuple[int, int]
    ) -> tuple[ndarray, int]:
        row = FUNCTIONS[function]
        if row.form == "clock":
            done = moment[0] + 1.0
            return numpy.array([done if function == "get_step" else done / moment[1]]), 0
        kinds = tuple(kind for _, kind in values)
        kind, widest = int(row.result(kinds)), max(kinds, default=0)
        arrays = [
            _spread(self.layout, value, k, widest) if widest >= Kind.TREE else value
            for value, k in values
        ]
        if function == "divide" and not self.guarded:
            return arrays[0] / arrays[1], kind
        apply = _computation(self.layout, function, kinds)
        return numpy.atleast_1d(numpy.asarray(apply(*arrays), dtype=float)), kind


@lru_cache(None)
def _computation(layout: Layout, function: str, kinds: tuple[int, ...]) -> Apply:
    return computation(layout, FUNCTIONS[function], kinds, torch.float64, arrays=True)


def _spread(layout: Layout, value: ndarray, kind: int, wanted: int) -> ndarray:
    """Repeat a value of one kind to the width of another; scalars broadcast by themselves."""
    if kind == Kind.ARRAY and wanted >= Kind.TREE:
        return numpy.repeat(value, layout.sizes_of(wanted), axis=-1)
    if kind != Kind.SCALAR and value.shape[-1] != 1:
        return value
    return numpy.broadcast_to(value, (*value.shape[:-1], layout.width(wanted))).copy()
