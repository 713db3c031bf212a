"""The table of rewrites: what may be replaced by what, under which conditions, and how exactly.

Both sides are written in the language of programs, with its guarded operations. ``x y z`` stand for
any value, ``s`` for a scalar, ``n`` for one number or one for each array, ``a b`` for constants.
``ratio(a, b)`` divides two constants without a guard. ``zero_tree``, ``zero_array`` and
``one_tree`` are constants of a kind, which programs write as ``weight * 0.0``, its norm, and
``weight ** 0.0``. Every row is tested numerically over random values, kinds and edge cases.
"""

from __future__ import annotations

from collections.abc import Iterable

from optforge.equality.array_rules import array_rules
from optforge.equality.rewrite import Rewrite as Rewrite
from optforge.equality.rewrite import rows_of as _rows


def _arithmetic() -> list[Rewrite]:
    return [
        *_rows(
            ("x + y", "y + x"),
            ("x * y", "y * x"),
            ("(x + y) + z", "x + (y + z)"),
            ("x + (y + z)", "(x + y) + z"),
            ("(x * y) * z", "x * (y * z)"),
            ("x * (y * z)", "(x * y) * z"),
            ("maximum(x, y)", "maximum(y, x)"),
            ("minimum(x, y)", "minimum(y, x)"),
            ("maximum(maximum(x, y), z)", "maximum(x, maximum(y, z))"),
            ("minimum(minimum(x, y), z)", "minimum(x, minimum(y, z))"),
            ("(x + y) * a", "x * a + y * a"),
            ("x + x * y", "x * (y + 1.0)"),
            ("x / y + z / y", "(x + z) / y"),
            ("(x + y) / z", "x / z + y / z"),
            ("x * (y / z)", "(x * y) / z"),
            ("(x / y) / z", "(x / z) / y"),
            grows=True,
        ),
        *_rows(
            ("x - y", "x + y * -1.0"),
            ("x + y * -1.0", "x - y"),
            ("negative(x)", "x * -1.0"),
            ("x * -1.0", "negative(x)"),
            ("negative(x - y)", "y - x"),
            ("x + y * a", "x - y * (0.0 - a)", "a < 0"),
            ("x * y + x * z", "x * (y + z)"),
            ("(x * y) / z", "x * (y / z)"),
            ("x * a + x * b", "x * (a + b)"),
            ("x + x * a", "x * (1.0 + a)"),
            ("x + x", "x * 2.0"),
            ("x / y + x / z", "x * (1.0 / y + 1.0 / z)"),
            ("x / a", "x * (1.0 / a)", "a + 1e-8 != 0"),
            ("x * (1.0 / y)", "x / y"),
            ("x + 0.0", "x"),
            ("x * 1.0", "x"),
            ("x - x", "x * 0.0"),
            ("0.0 / x", "x * 0.0"),
            ("x * 0.0", "0.0"),
            ("x * 0.0", "zero_array"),
            ("x * 0.0", "zero_tree"),
            ("x + zero_array", "x"),
            ("x + zero_tree", "x"),
            ("x * zero_array", "zero_array"),
            ("x * zero_array", "zero_tree"),
            ("x * zero_tree", "zero_tree"),
            ("zero_tree / x", "zero_tree"),
            ("(x + y) - y", "x"),
        ),
    ]


def _powers() -> list[Rewrite]:
    return [
        *_rows(
            ("x * x", "square(x)"),
            ("square(x)", "x * x"),
            ("x * square(x)", "cube(x)"),
            ("cube(x)", "x * square(x)"),
            ("square(x) * square(y)", "square(x * y)"),
            ("square(x * a)", "square(x) * (a * a)"),
            ("cube(x * a)", "cube(x) * (a * a * a)"),
            ("sqrt(square(x))", "abs(x)"),
            ("square(sqrt(x))", "abs(x)"),
            ("sqrt(x) * sqrt(y)", "sqrt(x * y)"),
            ("sqrt(x * a)", "sqrt(x) * sqrt(a)"),
            ("cbrt(cube(x))", "x"),
            ("cube(cbrt(x))", "x"),
            ("cbrt(x) * cbrt(y)", "cbrt(x * y)"),
            ("abs(x) * abs(y)", "abs(x * y)"),
            ("abs(x * a)", "abs(x) * abs(a)"),
            ("abs(x)", "x", "nonnegative(x)"),
            ("reciprocal(reciprocal(x))", "x"),
            ("reciprocal(x) * reciprocal(y)", "reciprocal(x * y)"),
            ("reciprocal(x * a)", "reciprocal(x) * ratio(1.0, a)", "a != 0"),
            ("x ** 0.0", "1.0"),
            ("x ** 0.0", "one_tree"),
            ("x * one_tree", "x"),
            ("x ** 1.0", "x"),
            ("x ** 2.0", "square(x)"),
            ("x ** 3.0", "cube(x)"),
            ("x ** -1.0", "reciprocal(x)"),
            ("x ** 0.5", "sqrt(x)", "nonnegative(x)"),
        ),
        *_rows(
            ("square(x * y)", "square(x) * square(y)"),
            ("sqrt(x * y)", "sqrt(x) * sqrt(y)"),
            ("abs(x * y)", "abs(x) * abs(y)"),
            grows=True,
        ),
    ]


def _interpolation() -> list[Rewrite]:
    near = "abs(a + b - 1.0) < 1e-12"
    return [
        *_rows(
            ("interp(x, y, a)", "x * (1.0 - a) + y * a"),
            ("x * a + y * b", "interp(x, y, b)", near),
            ("interp(x, y, s)", "x * (1.0 - s) + y * s"),
            ("x * (1.0 - s) + y * s", "interp(x, y, s)"),
            ("interp(x, interp(x, y, a), b)", "interp(x, y, a * b)"),
            ("interp(interp(x, y, a), y, b)", "interp(x, y, a + b - a * b)"),
            ("interp(x, x, s)", "x"),
            ("interp(x, y, 0.0)", "x"),
            ("interp(x, y, 1.0)", "y"),
            ("interp(x * z, y * z, s)", "interp(x, y, s) * z"),
            ("interp(x / z, y / z, s)", "interp(x, y, s) / z"),
            ("interp(x + z, y + z, s)", "interp(x, y, s) + z"),
            ("interp(negative(x), negative(y), s)", "negative(interp(x, y, s))"),
        ),
        *_rows(
            ("interp(x, y, a)", "interp(y, x, 1.0 - a)"),
            grows=True,
        ),
    ]


# Increasing through zero, so that the sign of the value is the sign of the argument.
_ODD_INCREASING = ("sinh", "tanh", "arctan", "arcsinh", "arcsin", "arctanh", "cbrt", "cube")
_ODD = (*_ODD_INCREASING, "sin", "tan", "sign", "reciprocal")
_EVEN = ("abs", "cos", "cosh", "square", "sqrt", "log", "log2", "log10", "norm", "global_norm")


def _symmetries() -> list[Rewrite]:
    rows = [Rewrite(f"{f}(negative(x))", f"negative({f}(x))") for f in _ODD]
    rows += [Rewrite(f"{f}(negative(x))", f"{f}(x)") for f in _EVEN]
    rows += [Rewrite(f"{f}(abs(x))", f"{f}(x)") for f in _EVEN]
    rows += [Rewrite(f"{f}(abs(x))", f"abs({f}(x))") for f in (*_ODD_INCREASING, "sign")]
    still = (*_ODD_INCREASING, "sin", "tan", "sign", "abs", "sqrt", "square")
    rows += [Rewrite(f"{f}(zero_tree)", "zero_tree") for f in still]
    return rows


def _signs() -> list[Rewrite]:
    odd = [Rewrite(f"sign({f}(x))", "sign(x)") for f in (*_ODD_INCREASING, "expm1")]
    return odd + _rows(
        ("sign(sign(x))", "sign(x)"),
        ("sign(x * a)", "sign(x)", "a > 0"),
        ("sign(x * a)", "negative(sign(x))", "a < 0"),
        ("sign(x * y)", "sign(x)", "positive(y)"),
        ("sign(x / y)", "sign(x)", "nonnegative(y)"),
        ("sign(x + y * b)", "sign(interp(x, y, ratio(b, 1.0 + b)))", "1.0 + b > 1e-3"),
        ("sign(x * a + y * b)", "sign(interp(x, y, ratio(b, a + b)))", "a + b > 1e-6"),
        ("sign(reciprocal(x))", "sign(x)", "positive(x)"),
        ("sign(clip(x, a))", "sign(x)", "a > 0"),
        ("sign(x) * abs(x)", "x"),
        ("sign(x) * square(x)", "x * abs(x)"),
        ("sign(x) * sign(y)", "sign(x * y)"),
        ("abs(sign(x))", "sign(abs(x))"),
        ("square(sign(x))", "sign(abs(x))"),
        ("cube(sign(x))", "sign(x)"),
        ("cbrt(sign(x))", "sign(x)"),
        ("sqrt(sign(x))", "sign(abs(x))"),
        ("sign(x) * sign(abs(x))", "sign(x)"),
        ("sign(square(x))", "sign(abs(x))"),
        ("sign(sqrt(x))", "sign(abs(x))"),
    )


def _exponentials() -> list[Rewrite]:
    pairs = (("exp", "log"), ("exp2", "log2"), ("exp10", "log10"))
    rows = []
    for power, logarithm in pairs:
        rows += _rows(
            (f"{logarithm}({power}(x))", "x"),
            (f"{power}({logarithm}(x))", "abs(x)"),
            (f"{power}(x) * {power}(y)", f"{power}(x + y)"),
            (f"square({power}(x))", f"{power}(x * 2.0)"),
            (f"sqrt({power}(x))", f"{power}(x * 0.5)"),
            (f"reciprocal({power}(x))", f"{power}(negative(x))"),
            (f"{logarithm}(square(x))", f"{logarithm}(x) * 2.0"),
            (f"{logarithm}(sqrt(x))", f"{logarithm}(x) * 0.5"),
            (f"{logarithm}(reciprocal(x))", f"negative({logarithm}(x))"),
        )
    return rows + _rows(
        ("exp(x) - 1.0", "expm1(x)"),
        ("expm1(x) + 1.0", "exp(x)"),
        ("log(x + 1.0)", "log1p(x)"),
        ("log1p(expm1(x))", "x"),
        ("exp(log1p(x))", "abs(x + 1.0)"),
        ("2.0 ** x", "exp2(x)"),
        ("10.0 ** x", "exp10(x)"),
        ("sinh(arcsinh(x))", "x"),
        ("arcsinh(sinh(x))", "x"),
        ("arctanh(tanh(x))", "x"),
        ("tanh(arctanh(x))", "x"),
        ("tan(arctan(x))", "x"),
        ("sin(arcsin(x))", "x"),
        ("cos(arccos(x))", "x"),
        ("cosh(arccosh(x))", "x"),
    )


def _extremes() -> list[Rewrite]:
    return _rows(
        ("maximum(x, x)", "x"),
        ("minimum(x, x)", "x"),
        ("maximum(x, minimum(x, y))", "x"),
        ("minimum(x, maximum(x, y))", "x"),
        ("maximum(x, maximum(x, y))", "maximum(x, y)"),
        ("minimum(x, minimum(x, y))", "minimum(x, y)"),
        ("maximum(maximum(x, a), b)", "maximum(x, maximum(a, b))"),
        ("minimum(minimum(x, a), b)", "minimum(x, minimum(a, b))"),
        ("maximum(x, negative(x))", "abs(x)"),
        ("minimum(x, negative(x))", "negative(abs(x))"),
        ("maximum(negative(x), negative(y))", "negative(minimum(x, y))"),
        ("minimum(negative(x), negative(y))", "negative(maximum(x, y))"),
        ("maximum(x, a)", "x", "nonnegative(x)", "a <= 0"),
        ("minimum(x, a)", "a", "nonnegative(x)", "a == 0"),
        ("maximum(x * a, y * a)", "maximum(x, y) * a", "a > 0"),
        ("minimum(x * a, y * a)", "minimum(x, y) * a", "a > 0"),
        ("maximum(abs(x), abs(x * a))", "abs(x * a)", "a >= 1"),
    )


def _norms() -> list[Rewrite]:
    return _rows(
        ("global_norm(x * s)", "global_norm(x) * abs(s)"),
        ("norm(x * s)", "norm(x) * abs(s)"),
        ("global_norm(s)", "abs(s)"),
        ("norm(s)", "abs(s)"),
        ("dot(x, y)", "dot(y, x)"),
        ("cosine_sim(x, y)", "cosine_sim(y, x)"),
        ("dot(x * s, y)", "dot(x, y) * s"),
        ("dot(x, x)", "square(global_norm(x))"),
        ("dot(negative(x), y)", "negative(dot(x, y))"),
        ("cosine_sim(x * a, y)", "cosine_sim(x, y)", "a > 0"),
        ("cosine_sim(negative(x), y)", "negative(cosine_sim(x, y))"),
        ("cosine_sim(clip(x, a), y)", "cosine_sim(x, y)", "a > 0"),
        ("clip(clip(x, s), s)", "clip(x, s)", "nonnegative(s)"),
        ("clip(clip(x, a), b)", "clip(x, minimum(a, b))", "a > 0", "b > 0"),
        ("clip(negative(x), s)", "negative(clip(x, s))"),
        ("clip(x * a, b)", "clip(x, ratio(b, a)) * a", "a > 0"),
    )


def _guarded() -> list[Rewrite]:
    """Return the rows that leave out the guard of a division; each states what this can change."""
    return [
        Rewrite("x / abs(x)", "sign(x)", guard="1e-8 / abs(x)"),
        Rewrite("abs(x) / x", "sign(x)", guard="abs(1e-8 / x)"),
        Rewrite("x / x", "1.0", guard="abs(1e-8 / x)"),
        Rewrite("x / x", "one_tree", guard="abs(1e-8 / x)"),
        Rewrite("square(x) / x", "x", guard="abs(x * (1e-8 / x))"),
        Rewrite("square(x) / abs(x)", "abs(x)", guard="1e-8"),
        Rewrite("x * y / y", "x", guard="abs(x * (1e-8 / y))"),
        Rewrite("x / y * y", "x", guard="abs(x * (1e-8 / y))"),
        Rewrite("abs(x) / sqrt(x)", "sqrt(x)", guard="1e-8"),
        Rewrite(
            "x / (y * a)",
            "x / y * ratio(1.0, a)",
            ("a > 0", "nonnegative(y)"),
            guard="abs(x / y) * abs(1.0 - a) * (1e-8 / (y * a)) * ratio(1.0, a)",
        ),
    ]


def table() -> tuple[Rewrite, ...]:
    """Return all rows in the order in which a derivation names them.

    Example:
        >>> next(row.name for row in table() if row.guard)
        'x / abs(x) -> sign(x), up to 1e-8 / abs(x)'
    """
    groups: Iterable[list[Rewrite]] = (
        *(_arithmetic(), _powers(), _interpolation(), _symmetries(), _signs()),
        *(_exponentials(), _extremes(), _norms(), _guarded(), array_rules()),
    )
    return tuple(row for group in groups for row in group)


RULES = table()
