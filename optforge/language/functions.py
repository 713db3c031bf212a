"""The one table of functions that programs are made of.

Interpreter, abstract execution, fingerprints, printer, mutation and the tests all read
this table; a new function is one new row. Every computation works on arrays whose last
dimension is the value (one element for a scalar, one per array, one per parameter element)
and whose leading dimensions are independent rows; constants arrive as Python floats.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from optforge.errors import ProgramError
from optforge.language.function import Apply, Engine, Function
from optforge.language.orthogonal import orthogonalized

EPSILON = 1e-8  # the guard of division, and the value of get_eps()


def _sign(xp: Any) -> Apply:
    if xp is not torch:
        return xp.sign
    return lambda x: torch.where(x != x, x, torch.sign(x))  # torch.sign turns NaN into 0


def _cbrt(xp: Any) -> Apply:
    if xp is not torch:
        return xp.cbrt
    return lambda x: torch.copysign(torch.pow(torch.abs(x), 1 / 3), x)


def _exp10(xp: Any) -> Apply:
    power = _power(xp)
    return lambda x: power(10.0, x)


def _log1p(xp: Any) -> Apply:
    return lambda x: xp.log1p(xp.where(x < -1, -2 - x, x))  # log|1 + x|, accurate near 0


def _of_magnitude(name: str) -> Engine:
    """Build a function of |x|."""

    def build(xp: Any) -> Apply:
        function, magnitude = getattr(xp, name), xp.abs
        return lambda x: function(magnitude(x))

    return build


def _extreme(name: str, bound: str) -> Engine:
    """Build maximum or minimum; in torch a float argument becomes a clamp, which keeps NaN too."""

    def build(xp: Any) -> Apply:
        both = getattr(xp, name)
        if xp is not torch:
            return lambda x, y: both(x, y) + 0.0  # one zero: 0.0 and -0.0 may be exchanged

        clamp: Any = torch.clamp

        def apply(x: Any, y: Any) -> Tensor:
            if isinstance(y, float):
                return clamp(x, **{bound: y})
            if isinstance(x, float):
                return clamp(y, **{bound: x})
            return both(x, y).add_(0.0)

        return apply

    return build


def _power(xp: Any) -> Apply:
    power = torch.pow if xp is torch else xp.power

    def apply(x: Any, y: Any) -> Any:
        if isinstance(y, float) and abs(y) == 0.5:  # both engines take a root: wrong at -inf, -0.0
            y = xp.full_like(x, y)
        return power(x, y)

    return apply


def _global_norm(xp: Any) -> Apply:
    return lambda x: xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))


def _dot(xp: Any) -> Apply:
    return lambda x, y: xp.sum(x * y, axis=-1, keepdims=True)


def _cosine_similarity(xp: Any) -> Apply:
    norm = _global_norm(xp)

    def apply(x: Any, y: Any) -> Any:
        ones = [1.0 if isinstance(v, float) else xp.ones_like(v) for v in (x, y)]
        x, y = x * ones[1], y * ones[0]  # both of the larger kind; a constant becomes an array
        norm_x, norm_y = norm(x), norm(y)
        # Each side is scaled before the product, so that tiny trees do not underflow.
        similarity = xp.sum((x / norm_x) * (y / norm_y), axis=-1, keepdims=True)
        return xp.where((norm_x == 0) | (norm_y == 0), 0.0, similarity)

    return apply


def _clip(xp: Any) -> Apply:
    norm, smaller = _global_norm(xp), _extreme("minimum", "max")(xp)

    def apply(x: Any, limit: Any) -> Any:
        if isinstance(x, float):
            x = x * xp.ones_like(limit)
        length = norm(x)
        if isinstance(limit, float):  # torch takes 1 / length first: infinite if denormal
            limit = xp.full_like(length, limit)
        factor = xp.where(length == 0, 1.0, limit / length)
        return x * smaller(factor, 1.0)

    return apply


def _magnitude(xp: Any) -> Apply:
    return xp.abs


def _itself(xp: Any) -> Apply:
    return lambda x: x


def _where(xp: Any) -> Apply:
    def apply(condition: Any, x: Any, y: Any) -> Any:
        if isinstance(condition, float):
            condition = xp.full_like(y if isinstance(x, float) else x, condition)
        if isinstance(x, float) and isinstance(y, float):  # they would get a dtype of their own
            x = xp.full_like(condition, x)
        return xp.where(condition >= 0, x, y)

    return apply


def _mean_of(*axes: int) -> Engine:
    return lambda xp: lambda x: xp.mean(x, axis=axes, keepdims=True)


def _norm_of(*axes: int) -> Engine:
    return lambda xp: lambda x: xp.sqrt(xp.sum(x * x, axis=axes, keepdims=True))


def _rms_of(*axes: int) -> Engine:
    return lambda xp: lambda x: xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True))


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


_BOTH, _ACROSS, _DOWN = (-2, -1), (-1,), (-2,)  # of an array, of each row, of each column
_SIDE = 128  # of a matrix, where a cost an element depends on it


def _lines(name: str, meaning: str, on_array: Engine, number: Engine, form: str) -> Function:
    belongs_to = "masks" if form == "per_array" else "rows"
    return Function(name, 1, form, meaning, number, 2, None, False, on_array, belongs_to)


_ROWS = (
    _unary("abs", "|x|", cost=1),
    _unary("cos", "cos x"),
    _unary("sin", "sin x"),
    _unary("tan", "tan x"),
    _unary("arcsin", "arcsin x, NaN outside [-1, 1]"),
    _unary("arccos", "arccos x, NaN outside [-1, 1]"),
    _unary("arctan", "arctan x"),
    _unary("exp", "e^x"),
    _unary("log", "ln |x|", _of_magnitude("log")),
    _unary("sinh", "sinh x"),
    _unary("cosh", "cosh x"),
    _unary("tanh", "tanh x"),
    _unary("arcsinh", "arsinh x"),
    _unary("arccosh", "arcosh x, NaN below 1"),
    _unary("arctanh", "artanh x, NaN outside [-1, 1]"),
    _unary("sign", "-1, 0 or 1; NaN stays NaN", _sign, 1),
    _unary("exp2", "2^x"),
    _unary("exp10", "10^x", _exp10),
    _unary("expm1", "e^x - 1"),
    _unary("log10", "log10 |x|", _of_magnitude("log10")),
    _unary("log2", "log2 |x|", _of_magnitude("log2")),
    _unary("log1p", "ln |1 + x|", _log1p),
    _unary("square", "x^2", lambda xp: lambda x: x * x, 1),
    _unary("sqrt", "sqrt |x|", _of_magnitude("sqrt"), 2),
    _unary("cube", "x^3", lambda xp: lambda x: x * x * x, 2),
    _unary("cbrt", "real cube root of x", _cbrt),
    _unary("reciprocal", "1 / x, not guarded", cost=1),
    _unary("negative", "-x", cost=1),
    _infix("add", "x + y", "+", operator.add, commutative=True),
    _infix("subtract", "x - y", "-", operator.sub),
    _infix("multiply", "x y", "*", operator.mul, commutative=True),
    _infix("divide", "x / (y + 1e-8)", "/", lambda x, y: x / (y + EPSILON), 2),
    Function("power", 2, "elementwise", "x^y as IEEE 754 has it", _power, 10, "**"),
    Function(
        "maximum",
        2,
        "elementwise",
        "max(x, y), NaN wins",
        _extreme("maximum", "min"),
        commutative=True,
    ),
    Function(
        "minimum",
        2,
        "elementwise",
        "min(x, y), NaN wins",
        _extreme("minimum", "max"),
        commutative=True,
    ),
    Function(
        "norm",
        1,
        "per_array",
        "Euclidean norm of each array",
        _magnitude,
        2,
        on_array=_norm_of(*_BOTH),
    ),
    Function("global_norm", 1, "whole", "Euclidean norm of the whole tree", _global_norm, 2),
    Function("dot", 2, "whole", "inner product of whole trees", _dot, 2, commutative=True),
    Function(
        "cosine_sim",
        2,
        "whole",
        "inner product of whole trees of length 1; 0 for a zero tree",
        _cosine_similarity,
        6,
        commutative=True,
    ),
    Function("clip", 2, "controlled", "x min(1, c / |x|) with the global norm", _clip, 3),
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
    Function("where", 3, "elementwise", "x if c >= 0, else y", _where, 1, belongs_to="masks"),
    _lines("mean", "mean of each array", _mean_of(*_BOTH), _itself, "per_array"),
    _lines("rms", "root mean square of each array", _rms_of(*_BOTH), _magnitude, "per_array"),
    _lines("row_mean", "mean of each row", _mean_of(*_ACROSS), _itself, "lines"),
    _lines("row_norm", "norm of each row", _norm_of(*_ACROSS), _magnitude, "lines"),
    _lines("row_rms", "root mean square of each row", _rms_of(*_ACROSS), _magnitude, "lines"),
    _lines("column_mean", "mean of each column", _mean_of(*_DOWN), _itself, "lines"),
    _lines("column_norm", "norm of each column", _norm_of(*_DOWN), _magnitude, "lines"),
    _lines("column_rms", "root mean square of each column", _rms_of(*_DOWN), _magnitude, "lines"),
    Function(
        "orthogonalize",
        1,
        "matrix",
        "the nearest matrix with orthogonal rows or columns, scaled to a root mean square of "
        "about 1; of arrays that are no hidden matrices the sign of each element",
        _sign,
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
        _itself,
        on_array=lambda xp: lambda x: x.mT if xp is torch else xp.swapaxes(x, -1, -2),
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


def functions_of(sets: Iterable[str]) -> tuple[str, ...]:
    """List the functions of some sets, in the order of the table.

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
                f"no set of functions {name!r}; there are {', '.join(FUNCTION_SETS)}"
            )
    return tuple(row.name for row in _ROWS if row.belongs_to in chosen)
