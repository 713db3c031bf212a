"""What functions of whole arrays, rows, columns and matrices should compute, array by array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optforge.language import FUNCTIONS, Kind, Layout, layout_of

Array = NDArray[Any]

# A tall matrix, a vector, an empty array, a scalar, a convolution, a wide and a square matrix, one
# row (no matrix), and a matrix that is looked up.
SHAPES = ((6, 2), (5,), (0, 3), (), (2, 2, 1, 3), (2, 9), (3, 3), (1, 4), (4, 2))
ROLES = (True, False, False, False, True, True, True, False, False)
LAYOUT = layout_of(SHAPES, matrices=(*(True,) * 8, False))  # what has no two sides is none anyway
NO_MATRICES = Layout(LAYOUT.sizes)
SIDES = {Kind.TREE: "rc", Kind.TRANSPOSED: "cr", Kind.ROW_SQUARE: "rr", Kind.COLUMN_SQUARE: "cc"}
ROWS = 7  # models, with other values each
EMPTY = 2


def shapes_of(kind: int, roles: Sequence[bool] = ROLES) -> list[tuple[int, int]]:
    """Rows and columns of each array in a value of a kind, worked out here once more."""
    shapes = []
    for shape, is_matrix in zip(SHAPES, roles, strict=True):
        sides = {"r": shape[0] if shape else 1, "c": int(np.prod(shape[1:]))}
        first, second = SIDES[Kind(kind)] if is_matrix else "rc"
        shapes.append((sides[first], sides[second]))
    return shapes


def values(kind: int, place: int, dtype: torch.dtype) -> Array:
    """A value of a kind for each of the models: ordinary, special in places, zero, tiny, large."""
    width = {Kind.SCALAR: 1, Kind.ARRAY: len(SHAPES)}.get(Kind(kind))
    width = sum(r * c for r, c in shapes_of(kind)) if width is None else width
    value = np.random.default_rng(10 * place + int(kind)).normal(size=(ROWS, width))
    value[1, (3 + place) % width] = np.nan
    value[2, (4 * place) % width] = np.inf
    value[2, (1 + 4 * place) % width] = -np.inf
    value[3, ::2] = 0.0
    value[4] = 0.0
    value[5] *= 1e-12
    value[6] *= 1e12
    return value.astype(np.float64 if dtype == torch.float64 else np.float32)


def pieces(value: Array, kind: int) -> list[Array]:
    """Divide a value into its arrays, each ``[models, rows, columns]``."""
    if kind < Kind.TREE:
        columns = [value[:, [i if kind == Kind.ARRAY else 0]] for i in range(len(SHAPES))]
        return [column[:, :, None] for column in columns]
    shapes = shapes_of(kind)
    ends = np.cumsum([r * c for r, c in shapes])[:-1]
    parts = np.split(value, ends, axis=1)
    return [part.reshape(len(value), *shape) for part, shape in zip(parts, shapes, strict=True)]


def newton_schulz(matrix: Array) -> Array:
    """Five steps in float64, written out; elements of the result have a mean square near 1."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    length = np.sqrt((x * x).sum())
    x = x if length == 0 else x / length
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    x = x * np.sqrt(max(matrix.shape))
    return x.T if tall else x


def _orthogonalized(x: Array) -> Array:
    return np.stack([newton_schulz(one) for one in x])


def _mean(x: Array, axis: Any) -> Array:
    return x.sum(axis, keepdims=True) / np.prod([x.shape[a] for a in np.atleast_1d(axis)])


BOTH, ACROSS, DOWN = (1, 2), 2, 1
Formula = Callable[..., Array]
# On one array, ``[models, rows, columns]``.
LINES: dict[str, Formula] = {
    "mean": lambda x: _mean(x, BOTH),
    "rms": lambda x: np.sqrt(_mean(x * x, BOTH)),
    "norm": lambda x: np.sqrt((x * x).sum(BOTH, keepdims=True)),
    "row_mean": lambda x: _mean(x, ACROSS) + _zero(x),
    "row_norm": lambda x: np.sqrt((x * x).sum(ACROSS, keepdims=True)) + _zero(x),
    "row_rms": lambda x: np.sqrt(_mean(x * x, ACROSS)) + _zero(x),
    "column_mean": lambda x: _mean(x, DOWN) + _zero(x),
    "column_norm": lambda x: np.sqrt((x * x).sum(DOWN, keepdims=True)) + _zero(x),
    "column_rms": lambda x: np.sqrt(_mean(x * x, DOWN)) + _zero(x),
}
# On one hidden matrix, and on any other array.
MATRICES: dict[str, tuple[Formula, Formula]] = {
    "orthogonalize": (_orthogonalized, np.sign),
    "where_matrix": (lambda x, y: x + _zero(y), lambda x, y: y + _zero(x)),
    "transpose": (lambda x: np.swapaxes(x, 1, 2), lambda x: x),
    "matmul": (np.matmul, np.multiply),
}
ARRAY_ORACLES = {*LINES, *MATRICES} - {"norm"}
# What is left of a function on a value that is no tree: each number is an array of one.
NUMBERS: dict[str, Formula] = {
    **dict.fromkeys(("mean", "row_mean", "column_mean"), lambda x: x),
    **dict.fromkeys(("rms", "norm", "row_norm", "row_rms", "column_norm", "column_rms"), np.abs),
    "orthogonalize": np.sign,
}


def _zero(x: Array) -> Array:
    return np.zeros(x.shape)


def expected_value(name: str, kinds: Sequence[int], arguments: Sequence[Array]) -> Array:
    """The value in float64, of the kind that the function's form says, array by array."""
    row = FUNCTIONS[name]
    wide = [np.asarray(a, np.float64) for a in arguments]
    if max(kinds) < Kind.TREE and row.form != "by_role":
        return NUMBERS[name](*wide)
    split = [pieces(a, k) for a, k in zip(wide, kinds, strict=True)]
    results = []
    with np.errstate(all="ignore"):
        for number, parts in enumerate(zip(*split, strict=True)):
            if name in LINES and number == EMPTY:  # an empty array has no mean: 0
                shape = (ROWS, 1) if row.form == "per_array" else (ROWS, 0)
                results.append(np.zeros(shape))
                continue
            formula = LINES[name] if name in LINES else MATRICES[name][0 if ROLES[number] else 1]
            results.append(formula(*parts).reshape(ROWS, -1))
    return np.concatenate(results, axis=1)


def tolerance(name: str, dtype: torch.dtype, expected: Array, sizes: Array) -> Array:
    """How far rounding may lead, from the values and from the sizes of what is added up."""
    digits = 1e-13 if dtype == torch.float64 else 2e-6
    if name == "orthogonalize":  # a small singular value grows by up to 3.4445 ** 5
        return np.full_like(expected, 2000 * digits)
    return 20 * digits * (np.abs(expected) + sizes)
