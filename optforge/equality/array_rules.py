"""Rows of the table for functions of arrays: masks, rows and columns, matrices.

The notation is that of :mod:`optforge.equality.rules`. A rule for hidden matrices must also hold
for other arrays, whose ``transpose`` is the array itself and whose ``matmul`` is the elementwise
product. So ``row_mean(transpose(x))`` cannot be simplified.
"""

from __future__ import annotations

from optforge.equality.rewrite import Rewrite, rows_of

_INCREASING = ("sinh", "tanh", "arctan", "arcsinh", "cbrt", "cube", "expm1", "sign")
_SIMPLE = ("negative", "sign", "abs", "sqrt", "square")
_LINES = ("row", "column")


def array_rules() -> list[Rewrite]:
    """Return all rows, those of masks first.

    Example:
        >>> array_rules()[0].name
        'where(x, y, y) -> y'
    """
    lines = [row for line in _LINES for row in _lines(line)]
    shapes = [*_roles(), *_transposed(), *_products(), *_zeros()]
    return [*_masks(), *_reductions(), *lines, *_orthogonal(), *shapes]


def _masks() -> list[Rewrite]:
    rows = [Rewrite(f"where({f}(x), y, z)", "where(x, y, z)") for f in _INCREASING]
    return rows_of(
        ("where(x, y, y)", "y"),
        ("where(a, x, y)", "x", "a >= 0"),
        ("where(a, x, y)", "y", "a < 0"),
        ("where(x, y, z)", "y", "nonnegative(x)"),
        ("where(x * a, y, z)", "where(x, y, z)", "a > 0"),
        ("where(x * n, y, z)", "where(x, y, z)", "positive(n)"),
        ("where(x / n, y, z)", "where(x, y, z)", "nonnegative(n)"),
        ("where(x - y, x, y)", "maximum(x, y)"),
        ("where(x - y, y, x)", "minimum(x, y)"),
        ("where(x, x, negative(x))", "abs(x)"),
        ("where(x, negative(x), x)", "negative(abs(x))"),
        ("where(x, x, 0.0)", "maximum(x, 0.0)"),
        ("where(x, 0.0, x)", "minimum(x, 0.0)"),
        ("where(x, y, zero_tree)", "where(x, y, 0.0)"),
        ("where(x, zero_tree, y)", "where(x, 0.0, y)"),
        ("where(x, y * s, z * s)", "where(x, y, z) * s"),
        ("where(x, y * s, 0.0)", "where(x, y, 0.0) * s"),
        ("where(x, 0.0, y * s)", "where(x, 0.0, y) * s"),
        ("where(x, negative(y), negative(z))", "negative(where(x, y, z))"),
        ("where(x, where(x, y, z), z)", "where(x, y, z)"),
        ("where(x, y, where(x, y, z))", "where(x, y, z)"),
    ) + rows  # fmt: skip


def _reductions() -> list[Rewrite]:
    return rows_of(
        ("mean(n)", "n"),
        ("rms(n)", "abs(n)"),
        ("mean(x * n)", "mean(x) * n"),
        ("mean(x + n)", "mean(x) + n"),
        ("mean(x) + mean(y)", "mean(x + y)"),
        ("mean(negative(x))", "negative(mean(x))"),
        ("mean(zero_tree)", "zero_array"),
        ("interp(mean(x), mean(y), s)", "mean(interp(x, y, s))"),
        ("rms(x * n)", "rms(x) * abs(n)"),
        ("rms(negative(x))", "rms(x)"),
        ("rms(abs(x))", "rms(x)"),
        ("rms(zero_tree)", "zero_array"),
        ("sqrt(mean(square(x)))", "rms(x)"),
        ("square(rms(x))", "mean(square(x))"),
    )


def _lines(line: str) -> list[Rewrite]:
    """Return the rows of functions that compute one number per row, or per column."""
    mean, norm, rms = (f"{line}_{name}" for name in ("mean", "norm", "rms"))
    rows = rows_of(
        (f"{mean}(n)", "n"),
        (f"{mean}(x * n)", f"{mean}(x) * n"),
        (f"{mean}(x + n)", f"{mean}(x) + n"),
        (f"{mean}(x) + {mean}(y)", f"{mean}(x + y)"),
        (f"{mean}(negative(x))", f"negative({mean}(x))"),
        (f"interp({mean}(x), {mean}(y), s)", f"{mean}(interp(x, y, s))"),
        (f"{mean}({mean}(x))", f"{mean}(x)"),
        (f"{mean}({norm}(x))", f"{norm}(x)"),
        (f"{mean}({rms}(x))", f"{rms}(x)"),
        (f"{rms}({mean}(x))", f"abs({mean}(x))"),
        (f"{rms}({norm}(x))", f"{norm}(x)"),
        (f"{rms}({rms}(x))", f"{rms}(x)"),
        (f"mean({mean}(x))", "mean(x)"),
        (f"rms({rms}(x))", "rms(x)"),
        (f"norm({rms}(x))", "norm(x)"),
        (f"global_norm({rms}(x))", "global_norm(x)"),
        (f"sqrt({mean}(square(x)))", f"{rms}(x)"),
        (f"square({rms}(x))", f"{mean}(square(x))"),
    )
    for size in (norm, rms):
        rows += rows_of(
            (f"{size}(n)", "abs(n)"),
            (f"{size}(x * n)", f"{size}(x) * abs(n)"),
            (f"{size}(negative(x))", f"{size}(x)"),
            (f"{size}(abs(x))", f"{size}(x)"),
        )
    return rows + [Rewrite(f"{name}(zero_tree)", "zero_tree") for name in (mean, norm, rms)]


def _orthogonal() -> list[Rewrite]:
    """Return the rows of ``orthogonalize``, which ignores positive factors as ``sign`` does."""
    return rows_of(
        ("orthogonalize(n)", "sign(n)"),
        ("orthogonalize(negative(x))", "negative(orthogonalize(x))"),
        ("orthogonalize(x * a)", "orthogonalize(x)", "a > 0"),
        ("orthogonalize(x * a)", "negative(orthogonalize(x))", "a < 0"),
        ("orthogonalize(x * n)", "orthogonalize(x)", "positive(n)"),
        ("orthogonalize(x / n)", "orthogonalize(x)", "nonnegative(n)"),
        (
            "orthogonalize(x + y * b)",
            "orthogonalize(interp(x, y, ratio(b, 1.0 + b)))",
            "1.0 + b > 1e-3",
        ),
        (
            "orthogonalize(x * a + y * b)",
            "orthogonalize(interp(x, y, ratio(b, a + b)))",
            "a + b > 1e-6",
        ),
        ("orthogonalize(clip(x, a))", "orthogonalize(x)", "a > 0"),
        ("orthogonalize(zero_tree)", "zero_tree"),
    )


def _roles() -> list[Rewrite]:
    rows = [Rewrite(f"where_matrix({f}(x), {f}(y))", f"{f}(where_matrix(x, y))") for f in _SIMPLE]
    return rows + rows_of(
        ("where_matrix(x, x)", "x"),
        ("where_matrix(where_matrix(x, y), z)", "where_matrix(x, z)"),
        ("where_matrix(x, where_matrix(y, z))", "where_matrix(x, z)"),
        ("where_matrix(x + z, y + z)", "where_matrix(x, y) + z"),
        ("where_matrix(x * z, y * z)", "where_matrix(x, y) * z"),
        ("where_matrix(x / z, y / z)", "where_matrix(x, y) / z"),
        ("where_matrix(x, orthogonalize(y))", "where_matrix(x, sign(y))"),
        ("where_matrix(orthogonalize(x), sign(x))", "orthogonalize(x)"),
    )


def _transposed() -> list[Rewrite]:
    same = ("norm", "global_norm", "mean", "rms")
    rows = [Rewrite(f"{f}(transpose(x))", f"transpose({f}(x))") for f in _SIMPLE]
    rows += [Rewrite(f"{f}(transpose(x))", f"{f}(x)") for f in same]
    return rows + rows_of(
        ("transpose(transpose(x))", "x"),
        ("transpose(x) + transpose(y)", "transpose(x + y)"),
        ("transpose(x) * transpose(y)", "transpose(x * y)"),
        ("transpose(x) / transpose(y)", "transpose(x / y)"),
        ("transpose(x * n)", "transpose(x) * n"),
        ("transpose(x) * n", "transpose(x * n)"),
        ("interp(transpose(x), transpose(y), s)", "transpose(interp(x, y, s))"),
        ("dot(transpose(x), transpose(y))", "dot(x, y)"),
        ("orthogonalize(transpose(x))", "transpose(orthogonalize(x))"),
        ("transpose(orthogonalize(x))", "orthogonalize(transpose(x))"),
        ("where_matrix(transpose(x), transpose(y))", "transpose(where_matrix(x, y))"),
    )


def _products() -> list[Rewrite]:
    return [
        *rows_of(
            ("matmul(transpose(y), transpose(x))", "transpose(matmul(x, y))"),
            ("transpose(matmul(x, y))", "matmul(transpose(y), transpose(x))"),
            ("matmul(x * n, y)", "matmul(x, y) * n"),
            ("matmul(x, y * n)", "matmul(x, y) * n"),
            ("matmul(negative(x), y)", "negative(matmul(x, y))"),
            ("matmul(x, negative(y))", "negative(matmul(x, y))"),
            ("matmul(x, z) + matmul(y, z)", "matmul(x + y, z)"),
            ("matmul(x, y) + matmul(x, z)", "matmul(x, y + z)"),
            ("matmul(x, zero_tree)", "zero_tree"),
            ("matmul(zero_tree, x)", "zero_tree"),
        ),
        *rows_of(
            ("matmul(matmul(x, y), z)", "matmul(x, matmul(y, z))"),
            ("matmul(x, matmul(y, z))", "matmul(matmul(x, y), z)"),
            grows=True,
        ),
    ]


def _zeros() -> list[Rewrite]:
    """Return the rows of zeros that are not trees."""
    by_rows = "matmul(zero_tree, transpose(zero_tree))"
    by_columns = "matmul(transpose(zero_tree), zero_tree)"
    rows = rows_of(
        (f"matmul({by_rows}, x)", "zero_tree"),
        (f"matmul(x, {by_columns})", "zero_tree"),
    )
    for zeros in ("transpose(zero_tree)", by_rows, by_columns):
        rows += rows_of((f"x * {zeros}", zeros), (f"x + {zeros}", "x"))
    return rows
