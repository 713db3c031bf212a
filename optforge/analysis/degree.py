"""How a program's values scale with some of its constants: homogeneity, across steps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from optforge.analysis.walk import Environment, walk
from optforge.language import FUNCTION_SETS, Program, Statement

Place = tuple[int, int]  # number of the statement, number of its argument, both from 0

_MIXED = float("inf")  # no degree
_ZERO = None  # a state that is still zero, which is homogeneous of every degree
_Degree = float | None

_SAME = {"abs", "negative", "norm", "global_norm", "mean", "rms", "transpose"}
_SAME |= {*FUNCTION_SETS["rows"]}
_POWERS = {"square": 2.0, "sqrt": 0.5, "cube": 3.0, "cbrt": 1 / 3, "reciprocal": -1.0}
_PRODUCTS = {"multiply", "dot", "matmul"}
_ALIKE = {"add", "subtract", "maximum", "minimum", "where_matrix"}
_SCALELESS = {"sign", "cosine_sim", "orthogonalize"}


@dataclass(frozen=True)
class Degrees:
    """Degrees of the results of a program; None where a result has no degree.

    Args:
        update: Degree of the update.
        states: Degree of each next state.
    """

    update: float | None
    states: tuple[float | None, ...]


def degrees(program: Program, places: Collection[Place]) -> Degrees:
    r"""Return the degrees in which the results are homogeneous in some constants.

    A value :math:`f(c)` has degree d if :math:`f(sc) = s^d f(c)` for every s > 0, in exact
    arithmetic, for the same weights and gradients from zero states on. The degrees of the states
    are a fixed point over the steps, so a constant that enters a state is followed. A value without
    a known degree has none, for example a guarded division by a value that scales.

    Args:
        program: A valid program.
        places: Places of the constants that are scaled together.

    Example:
        >>> from optforge.language import load_rule
        >>> adamw = load_rule("adamw")
        >>> adamw.statements[7].text
        'lr = lr * 0.001'
        >>> degrees(adamw, [(7, 1)]).update
        1.0
    """
    states: list[_Degree] = [_ZERO] * len(program.states)
    update, states = _settled(program, places, states)
    # A state that only reads itself need not stay zero, as in v = cos(v): begin again from there.
    states = [0.0 if state is _ZERO else state for state in states]
    update, states = _settled(program, places, states)
    return Degrees(_known(update), tuple(_known(state) for state in states))


def _known(degree: _Degree) -> float | None:
    return None if degree == _MIXED else degree


def _settled(
    program: Program, places: Collection[Place], states: list[_Degree]
) -> tuple[_Degree, list[_Degree]]:
    """Walk until the states keep their degrees; each state can change at most twice."""

    def apply(number: int, statement: Statement, values: list[_Degree]) -> _Degree:
        scaled = [1.0 if (number, i) in places else v for i, v in enumerate(values)]
        return _result(statement, scaled)

    while True:
        names = program.parameters
        environment = Environment[_Degree](names, (0.0, 0.0, *states, 0.0), lambda value: 0.0)
        walk(program.statements, environment, apply)
        update, *rest = [environment[name] for name in program.outputs]
        grown = [_join(old, new) for old, new in zip(states, rest, strict=True)]
        if grown == states:
            return update, states
        states = grown


def _join(x: _Degree, y: _Degree) -> _Degree:
    """Return the degree of a sum, or of a choice between two values."""
    if x is _ZERO or y is _ZERO:
        return y if x is _ZERO else x
    return x if x == y else _MIXED


def _result(statement: Statement, values: list[_Degree]) -> _Degree:
    name = statement.function
    if not values or name in _SCALELESS:
        return _MIXED if _MIXED in values else 0.0
    if name in _ALIKE:
        return _join(values[0], values[1])
    if name == "where":  # the condition is a sign
        return _MIXED if values[0] == _MIXED else _join(values[1], values[2])
    if name == "interp":
        return _join(values[0], values[1]) if values[2] in (0.0, _ZERO) else _fixed(values)
    if name == "clip":  # both sides of the comparison must scale alike
        return _join(values[0], values[1])
    if _ZERO in values:
        return _ZERO
    if name in _SAME:
        return values[0]
    if name in _POWERS:
        return _times(values[0], _POWERS[name])
    if name in _PRODUCTS:
        return _plus(values[0], values[1])
    if name == "divide":  # x / (y + 1e-8)
        return values[0] if values[1] == 0.0 else _MIXED
    exponent = statement.arguments[-1]
    if name == "power" and isinstance(exponent, float) and values[1] == 0.0:
        return _times(values[0], exponent)
    return _fixed(values)


def _fixed(values: list[_Degree]) -> float:
    """Return the degree of a non-homogeneous function: 0 if no argument scales, else mixed."""
    return 0.0 if all(value == 0.0 for value in values) else _MIXED


def _times(degree: _Degree, factor: float) -> _Degree:
    return degree if degree is None or degree == _MIXED else degree * factor


def _plus(x: _Degree, y: _Degree) -> _Degree:
    return None if x is None or y is None else x + y  # infinite if either is mixed
