"""The functions of the language over the real numbers, with 60 digits: an oracle written anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath

from optforge.equality.patterns import Pattern
from optforge.language import Kind

mp = mpmath.mp.clone()
mp.dps = 60
EPSILON = mp.mpf("1e-8")

Value = tuple[int, list[Any]]  # kind, elements
Matrix = list[list[Any]]
Shape = tuple[int, int]


@dataclass(frozen=True)
class Arrays:
    """The arrays of a tree.

    Args:
        shapes: Rows and columns of each.
        hidden: Of each whether it is a hidden matrix.
    """

    shapes: tuple[Shape, ...]
    hidden: tuple[bool, ...]

    def shapes_of(self, kind: int) -> list[Shape]:
        places = {2: (0, 1), 3: (1, 0), 4: (0, 0), 5: (1, 1)}[kind]
        return [
            (shape[places[0]], shape[places[1]]) if hidden else shape
            for shape, hidden in zip(self.shapes, self.hidden, strict=True)
        ]

    def width(self, kind: int) -> int:
        if kind < Kind.TREE:
            return 1 if kind == Kind.SCALAR else len(self.shapes)
        return sum(rows * columns for rows, columns in self.shapes_of(kind))

    def spread(self, value: Value, kind: int) -> list[Any]:
        own, elements = value
        if own == Kind.ARRAY and kind >= Kind.TREE:
            sizes = [rows * columns for rows, columns in self.shapes_of(kind)]
            return [e for e, size in zip(elements, sizes, strict=True) for _ in range(size)]
        return elements * self.width(kind) if own == Kind.SCALAR else elements

    def matrices(self, value: Value) -> list[Matrix]:
        elements, found = iter(value[1]), []
        for rows, columns in self.shapes_of(value[0]):
            found.append([[next(elements) for _ in range(columns)] for _ in range(rows)])
        return found


SMALL = Arrays(((2, 1), (1, 1)), (False, False))
MIXED = Arrays(((2, 3), (2, 2), (2, 1)), (True, False, False))  # a matrix, a table, a vector


def real(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of real numbers; outside its domain the result is NaN."""

    def apply(*values: Any) -> Any:
        try:
            result = function(*values)
        except (ZeroDivisionError, ValueError, OverflowError):
            return mp.nan
        return result if not isinstance(result, mp.mpc) else mp.nan

    return apply


ELEMENTWISE = {
    **{name: getattr(mp, name) for name in ("cos", "sin", "tan", "exp", "sinh", "cosh", "tanh")},
    **{name: getattr(mp, name) for name in ("expm1", "sign")},
    **{"abs": abs, "negative": lambda x: -x, "square": lambda x: x * x, "cube": lambda x: x**3},
    **{"arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan, "arcsinh": mp.asinh},
    **{"arccosh": mp.acosh, "arctanh": mp.atanh, "reciprocal": lambda x: 1 / x},
    **{"log": lambda x: mp.log(abs(x)), "log2": lambda x: mp.log(abs(x), 2)},
    **{"log10": lambda x: mp.log10(abs(x)), "log1p": lambda x: mp.log(abs(1 + x))},
    **{"exp2": lambda x: mp.mpf(2) ** x, "exp10": lambda x: mp.mpf(10) ** x},
    **{"sqrt": lambda x: mp.sqrt(abs(x)), "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x))},
    **{"add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y},
    **{"divide": lambda x, y: x / (y + EPSILON), "power": lambda x, y: x**y},
    **{"maximum": max, "minimum": min, "interp": lambda x, y, a: (1 - a) * x + a * y},
    "ratio": lambda x, y: x / y,
    "where": lambda c, x, y: x if c >= 0 else y,
}


def length(elements: list[Any]) -> Any:
    return mp.sqrt(sum((e * e for e in elements), mp.mpf(0)))


def mean(elements: list[Any]) -> Any:
    return sum(elements, mp.mpf(0)) / len(elements)


REDUCTIONS = {
    **{"norm": length, "mean": mean},
    "rms": lambda elements: length(elements) / mp.sqrt(len(elements)),
}


def transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def multiplied(one: Matrix, other: Matrix) -> Matrix:
    columns = transposed(other)
    return [[sum(a * b for a, b in zip(r, c, strict=True)) for c in columns] for r in one]


def orthogonal(matrix: Matrix) -> Matrix:
    """Newton-Schulz steps, term by term as the formula is written."""
    size = length([e for row in matrix for e in row])
    if size == 0:
        return matrix
    x = [[e / size for e in row] for row in matrix]
    a, b, c = (mp.mpf(text) for text in ("3.4445", "-4.7750", "2.0315"))
    for _ in range(5):
        gram = multiplied(x, transposed(x))
        first, second = multiplied(gram, x), multiplied(gram, multiplied(gram, x))
        rows = zip(x, first, second, strict=True)
        x = [[a * p + b * q + c * r for p, q, r in zip(*row, strict=True)] for row in rows]
    scale = mp.sqrt(max(len(x), len(x[0])))
    return [[scale * e for e in row] for row in x]


def whole(arrays: Arrays, name: str, values: list[Value]) -> Value:
    kind = max(k for k, _ in values)
    rows = [arrays.spread(value, kind) for value in values]
    if name == "global_norm":
        return 0, [length(rows[0])]
    inner = sum((x * y for x, y in zip(*rows, strict=True)), mp.mpf(0))
    if name == "dot":
        return 0, [inner]
    norms = length(rows[0]) * length(rows[1])
    return 0, [inner / norms if norms else mp.mpf(0)]


def reduced(arrays: Arrays, name: str, value: Value) -> Value:
    kind, elements = value
    if kind < Kind.TREE:
        return kind, [REDUCTIONS[name]([e]) for e in elements]
    matrices = arrays.matrices(value)
    return 1, [REDUCTIONS[name]([e for row in matrix for e in row]) for matrix in matrices]


def by_lines(arrays: Arrays, name: str, value: Value) -> Value:
    line, function = name.split("_")
    if value[0] < Kind.TREE:
        return value[0], [REDUCTIONS[function]([e]) for e in value[1]]
    found = []
    for matrix in arrays.matrices(value):
        lines = matrix if line == "row" else transposed(matrix)
        there = [[REDUCTIONS[function](one)] * len(one) for one in lines]
        found += [e for row in (there if line == "row" else transposed(there)) for e in row]
    return value[0], found


def of_matrices(arrays: Arrays, name: str, values: list[Value]) -> Value:
    if values[0][0] < Kind.TREE:  # only `orthogonalize` accepts these
        return values[0][0], [mp.sign(e) for e in values[0][1]]
    found = []
    for hidden, *parts in zip(arrays.hidden, *map(arrays.matrices, values), strict=True):
        if name == "orthogonalize":
            x = parts[0]
            result = orthogonal(x) if hidden else [[mp.sign(e) for e in row] for row in x]
        elif name == "transpose":
            result = transposed(parts[0]) if hidden else parts[0]
        elif hidden:
            result = multiplied(*parts)
        else:
            rows = zip(*parts, strict=True)
            result = [[x * y for x, y in zip(*row, strict=True)] for row in rows]
        found += [e for row in result for e in row]
    kinds = tuple(kind for kind, _ in values)
    return KINDS.get(kinds, kinds[0]) if name != "orthogonalize" else kinds[0], found


KINDS = {
    **{(2,): 3, (3,): 2, (4,): 4, (5,): 5},
    **{(2, 3): 4, (2, 5): 2, (3, 2): 5, (3, 4): 3},
    **{(4, 2): 2, (4, 4): 4, (5, 3): 3, (5, 5): 5},
}


def by_role(arrays: Arrays, values: list[Value]) -> Value:
    kind = max(1, *(k for k, _ in values))
    flags = [mp.mpf(hidden) for hidden in arrays.hidden]
    rows = [arrays.spread(value, kind) for value in [(1, flags), *values]]
    return kind, [x if flag else y for flag, x, y in zip(*rows, strict=True)]


def clip(value: Value, limit: Value) -> Value:
    size = length(value[1])
    factor = min(mp.mpf(1), limit[1][0] / size) if size else mp.mpf(1)
    return value[0], [e * factor for e in value[1]]


def evaluate(arrays: Arrays, pattern: Pattern, values: dict[str, Value]) -> Value:
    if pattern.value is not None:
        return 0, [mp.mpf(repr(pattern.value))]
    if not pattern.arguments:
        return values[pattern.operation]
    inner = [evaluate(arrays, argument, values) for argument in pattern.arguments]
    if any(mp.isnan(e) or mp.isinf(e) for _, row in inner for e in row):
        return int(Kind.SCALAR), [mp.nan]
    name = pattern.operation
    if name in ("global_norm", "dot", "cosine_sim"):
        return whole(arrays, name, inner)
    if name in REDUCTIONS:
        return reduced(arrays, name, inner[0])
    if name.startswith(("row_", "column_")):
        return by_lines(arrays, name, inner[0])
    if name in ("orthogonalize", "transpose", "matmul"):
        return of_matrices(arrays, name, inner)
    if name == "where_matrix":
        return by_role(arrays, inner)
    if name == "clip":
        return clip(inner[0], inner[1])
    kind = max(k for k, _ in inner)
    rows = [arrays.spread(value, kind) for value in inner]
    function = real(ELEMENTWISE[name])
    return kind, [function(*row) for row in zip(*rows, strict=True)]
