"""The one table of functions that programs are made of.

Interpreter, abstract execution, fingerprints, printer, mutation and the tests all read
this table; to add a function, add a row. Every computation works on arrays whose last
dimension is the value (one element for a scalar, one per array, one per parameter element)
and whose leading dimensions are independent rows; constants arrive as Python floats.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from optforge.errors import ProgramError
from optforge.language import engines
from optforge.language.function import Apply, Engine, Function
from optforge.language.orthogonal import orthogonalized

EPSILON = 1e-8  # the guard of division, and the value of get_eps()


def _unary(name: str, meaning: str, build: Engine | None = None, cost: int = 10) -> Function:
    plain = build or (lambda xp: getattr(xp, name))
    return Function(name, 1, "elementwise", meaning, plain, cost)


def _infix(
    name: str, meaning: str, symbol: str, apply: Apply, cost: int = 1, commutative: bool = False
) -> Function:
    return Function(name, 2, "elementwise", meaning, lambda xp: apply, cost, symbol, commutative)


def _constant(name: str, meaning: str, value: float) -> Function:
    return Function(name, 0, "constant", meaning, lambda xp: lambda: value, 0)


def _no_clock(xp: Any) -> Apply:
    raise NotImplementedError("what runs a rule knows the number of the step")


_SIDE = 128  # of a matrix, where a cost an element depends on it
_REDUCED = {  # words, the computation, and what becomes of a single number
    "mean": ("mean", engines.mean_of, engines.itself),
    "norm": ("norm", engines.norm_of, engines.magnitude),
    "rms": ("root mean square", engines.rms_of, engines.magnitude),
}


def _reduction(name: str, over: str, axes: tuple[int, ...], prefix: str = "") -> Function:
    """Return the row of a function of each array, or of each of its rows or columns."""
    words, build, of_number = _REDUCED[name]
    form, belongs_to = ("lines", "rows") if prefix else ("per_array", "masks")
    meaning = f"{words} of each {over}"
    rest: dict[str, Any] = {"cost": 2, "on_array": build(*axes), "belongs_to": belongs_to}
    return Function(f"{prefix}{name}", 1, form, meaning, of_number, **rest)


_ROWS = (
    _unary("abs", "|x|", cost=1),
    _unary("cos", "cos x"),
    _unary("sin", "sin x"),
    _unary("tan", "tan x"),
    _unary("arcsin", "arcsin x, NaN outside [-1, 1]"),
    _unary("arccos", "arccos x, NaN outside [-1, 1]"),
    _unary("arctan", "arctan x"),
    _unary("exp", "e^x"),
    _unary("log", "ln |x|", engines.of_magnitude("log")),
    _unary("sinh", "sinh x"),
    _unary("cosh", "cosh x"),
    _unary("tanh", "tanh x"),
    _unary("arcsinh", "arsinh x"),
    _unary("arccosh", "arcosh x, NaN below 1"),
    _unary("arctanh", "artanh x, NaN outside [-1, 1]"),
    _unary("sign", "-1, 0 or 1; NaN stays NaN", engines.sign, 1),
    _unary("exp2", "2^x"),
    _unary("exp10", "10^x", engines.exp10),
    _unary("expm1", "e^x - 1"),
    _unary("log10", "log10 |x|", engines.of_magnitude("log10")),
    _unary("log2", "log2 |x|", engines.of_magnitude("log2")),
    _unary("log1p", "ln |1 + x|", engines.log1p),
    _unary("square", "x^2", lambda xp: lambda x: x * x, 1),
    _unary("sqrt", "sqrt |x|", engines.of_magnitude("sqrt"), 2),
    _unary("cube", "x^3", lambda xp: lambda x: x * x * x, 2),
    _unary("cbrt", "real cube root of x", engines.cbrt),
    _unary("reciprocal", "1 / x, not guarded", cost=1),
    _unary("negative", "-x", cost=1),
    _infix("add", "x + y", "+", operator.add, commutative=True),
    _infix("subtract", "x - y", "-", operator.sub),
    _infix("multiply", "x y", "*", operator.mul, commutative=True),
    _infix("divide", "x / (y + 1e-8)", "/", lambda x, y: x / (y + EPSILON), 2),
    Function("power", 2, "elementwise", "x^y as IEEE 754 has it", engines.power, 10, "**"),
    Function(
        "maximum",
        2,
        "elementwise",
        "max(x, y), NaN wins",
        engines.extreme("maximum", "min"),
        commutative=True,
    ),
    Function(
        "minimum",
        2,
        "elementwise",
        "min(x, y), NaN wins",
        engines.extreme("minimum", "max"),
        commutative=True,
    ),
    Function(
        "norm",
        1,
        "per_array",
        "Euclidean norm of each array",
        engines.magnitude,
        2,
        on_array=engines.norm_of(-2, -1),
    ),
    Function("global_norm", 1, "whole", "Euclidean norm of the whole tree", engines.global_norm, 2),
    Function("dot", 2, "whole", "inner product of whole trees", engines.dot, 2, commutative=True),
    Function(
        "cosine_sim",
        2,
        "whole",
        "inner product of whole trees of length 1; 0 for a zero tree",
        engines.cosine_similarity,
        6,
        commutative=True,
    ),
    Function("clip", 2, "controlled", "x min(1, c / |x|) with the global norm", engines.clip, 3),
    Function(
        "interp",
        3,
        "controlled",
        "(1 - a) x + a y",
        lambda xp: lambda x, y, a: x * (1 - a) + y * a,
        3,
    ),
    _constant("get_pi", "3.14159...", math.pi),
    _constant("get_e", "2.71828...", math.e),
    _constant("get_eps", "1e-8", EPSILON),
    Function(
        "where", 3, "elementwise", "x if c >= 0, else y", engines.where, 1, belongs_to="masks"
    ),
    *(_reduction(name, "array", (-2, -1)) for name in ("mean", "rms")),
    *(_reduction(name, "row", (-1,), "row_") for name in _REDUCED),
    *(_reduction(name, "column", (-2,), "column_") for name in _REDUCED),
    Function(
        "orthogonalize",
        1,
        "matrix",
        "the nearest matrix with orthogonal rows or columns, scaled to a root mean square of "
        "about 1; of arrays that are no hidden matrices the sign of each element",
        engines.sign,
        30 * _SIDE,
        on_array=lambda xp: orthogonalized,
        belongs_to="matrices",
    ),
    Function(
        "where_matrix",
        2,
        "by_role",
        "x on hidden matrices, y on all other arrays",
        lambda xp: lambda x, y: y,
        belongs_to="matrices",
    ),
    Function(
        "transpose",
        1,
        "transpose",
        "the transposed matrix; arrays that are no hidden matrices as they are",
        engines.itself,
        on_array=engines.transposed,
        belongs_to="matrices",
    ),
    Function(
        "matmul",
        2,
        "product",
        "the matrix product; of arrays that are no hidden matrices, element by element",
        lambda xp: operator.mul,
        2 * _SIDE,
        on_array=lambda xp: xp.matmul,
        belongs_to="matrices",
    ),
    Function("get_step", 0, "clock", "number of the step, from 1", _no_clock, 0, belongs_to="time"),
    Function(
        "get_progress",
        0,
        "clock",
        "share of the steps that are done after this one, up to 1",
        _no_clock,
        0,
        belongs_to="time",
    ),
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({row.name: row for row in _ROWS})
ALIASES: Mapping[str, str] = MappingProxyType({"min": "minimum", "max": "maximum"})
FUNCTION_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        name: tuple(row.name for row in _ROWS if row.belongs_to == name)
        for name in dict.fromkeys(row.belongs_to for row in _ROWS)
    }
)
# What functions of arrays are for one number, or one for each array; the others give it as it is.
OF_NUMBER: Mapping[str, str] = MappingProxyType(
    {
        **{row.name: "abs" for row in _ROWS if row.on_array and row.name.endswith(("norm", "rms"))},
        "orthogonalize": "sign",
    }
)


def functions_of(sets: Iterable[str]) -> tuple[str, ...]:
    """Return the functions of some sets, in the order of the table.

    Raises:
        ProgramError: If there is no such set.

    Example:
        >>> functions_of(["masks", "time"])
        ('where', 'mean', 'rms', 'get_step', 'get_progress')
    """
    chosen = tuple(sets)
    for name in chosen:
        if name not in FUNCTION_SETS:
            raise ProgramError(
                f"unknown set of functions {name!r}; allowed are {', '.join(FUNCTION_SETS)}"
            )
    return tuple(row.name for row in _ROWS if row.belongs_to in chosen)
