"""What each function should compute, in NumPy and SciPy, and on which values it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
import torch
from numpy.typing import NDArray

from optforge.language import FUNCTIONS, Kind, Layout, Program, Statement

Array = NDArray[Any]
DTYPES = (torch.float64, torch.float32)
NUMPY = {torch.float64: np.float64, torch.float32: np.float32}

# 1e-310 and 1e-40 are denormal in float64 and float32; 1e300 is infinite in float32.
SPECIAL = (
    *(0.0, -0.0, 1e-310, -1e-310, 5e-324, 1e-40, -1e-40, np.inf, -np.inf, np.nan),
    *(1e300, -1e300, 1e30, -1e30, 1e10, 12345.678, 88.0, -1e-8, 1e-8, 3e-4),
    *(1.0, -1.0, -2.0, 2.0, 0.5, -0.5, 0.3, -0.7, 1.5, -3.25, 3.0, 1 / 3),
)
CONSTANTS = (2.5, -0.5, 0.0, -0.0, 1.0, 0.5, 2.0, -2.0, 3.0, -1.0, 1e-12, 1e300, -1e300, 1e30)
RATES = (1.0, 0.3, 0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, 1e-8)


class Layouts:
    """Rows in several arrays, one of them empty."""

    elementwise = Layout((len(SPECIAL) - 10, 0, 1, 9))
    whole = Layout((6, 0, 1, 5))


@dataclass(frozen=True)
class Oracle:
    """The formula, and the size of what it adds up, which scales the rounding error."""

    formula: Callable[..., Array]
    size: Callable[..., Array] | None = None
    ulps: float = 4.0

    def exact(self, dtype: torch.dtype, *arguments: Array) -> tuple[Array, Array]:
        """Value and tolerance: float64, rounded; but what overflows in between does so."""
        with np.errstate(all="ignore"):
            wide = [np.asarray(a, np.float64) for a in arguments]
            value = self.formula(*wide)
            size = np.abs(value) if self.size is None else self.size(*wide)
            if dtype == torch.float32:
                narrow = self.formula(*[np.asarray(a, np.float32) for a in arguments])
                # Not a rounding: something over- or underflowed on the way, as it has to.
                lost = ~np.isfinite(narrow) | ~np.isfinite(value)
                lost |= np.abs(narrow - value) > 1e-5 * size
                size = np.where(lost, np.abs(narrow), size)
                value = np.where(lost, narrow, value).astype(np.float32)
            info = np.finfo(NUMPY[dtype])
            return value, self.ulps * info.eps * size + 4 * info.tiny


def _divide(x: Array, y: Array) -> Array:
    return x / (y + y.dtype.type(1e-8))


def _norm(x: Array) -> Array:
    return np.sqrt(np.sum(x * x, -1, keepdims=True))


def _sum(x: Array, y: Array) -> Array:
    return np.sum(x * y, -1, keepdims=True)


def _similarity(x: Array, y: Array) -> Array:
    x, y = np.broadcast_arrays(x, y)
    zero = (_norm(x) == 0) | (_norm(y) == 0)
    return np.where(zero, 0.0, _sum(x / _norm(x), y / _norm(y)))


def _clip(x: Array, limit: Array) -> Array:
    norm = _norm(x)
    return np.where(norm == 0, x, x * np.minimum(1, limit / norm))


def _ieee_power(x: Array, y: Array) -> Array:
    x, y = np.broadcast_arrays(x, y)
    return np.power(x.copy(), y.copy())  # arrays: NumPy takes its own short cuts for one number


_SAME_IN_NUMPY = (
    "abs cos sin tan arcsin arccos arctan exp sinh cosh tanh arcsinh arccosh arctanh sign exp2 "
    "expm1 square reciprocal negative add subtract multiply maximum minimum"
)
ORACLES: dict[str, Oracle] = {
    **{name: Oracle(getattr(np, name)) for name in _SAME_IN_NUMPY.split()},
    "log": Oracle(lambda x: np.log(np.abs(x))),
    "log2": Oracle(lambda x: np.log2(np.abs(x))),
    "log10": Oracle(lambda x: np.log10(np.abs(x))),
    "log1p": Oracle(lambda x: np.where(x < -1, np.log(np.abs(1 + x)), np.log1p(x))),
    "sqrt": Oracle(lambda x: np.sqrt(np.abs(x))),
    "exp10": Oracle(scipy.special.exp10, ulps=16),
    "cube": Oracle(lambda x: x * x * x),
    # A power with the exponent 1/3: its rounding counts as often as the exponent's logarithm.
    "cbrt": Oracle(scipy.special.cbrt, ulps=160),
    "divide": Oracle(_divide),
    "power": Oracle(_ieee_power, ulps=8),
    "norm": Oracle(_norm, ulps=16),
    "global_norm": Oracle(_norm, ulps=16),
    "dot": Oracle(_sum, lambda x, y: _sum(np.abs(x), np.abs(y)), ulps=16),
    "cosine_sim": Oracle(_similarity, lambda x, y: np.ones_like(_sum(x, y)), ulps=16),
    "clip": Oracle(_clip, ulps=16),
    "interp": Oracle(
        lambda x, y, a: (1 - a) * x + a * y,
        lambda x, y, a: (1 + np.abs(a)) * np.abs(x) + np.abs(a * y),
    ),
    "where": Oracle(lambda c, x, y: np.where(c >= 0, x, y)),
    "get_pi": Oracle(lambda: np.full((1, 1), np.pi)),
    "get_e": Oracle(lambda: np.full((1, 1), np.e)),
    "get_eps": Oracle(lambda: np.full((1, 1), 1e-8)),
}


def inputs(name: str, mixture: tuple[Any, ...], dtype: torch.dtype) -> list[Array | None]:
    """One array per argument, a row for each special value; None for literals and the rate."""
    rows = len(SPECIAL)
    special = np.array(SPECIAL)
    values: list[Array | None] = []
    for place, kind in enumerate(mixture):
        if kind == Kind.SCALAR:
            value = np.roll(special, 5 * place)[:, None]
        elif kind == Kind.ARRAY:
            value = np.stack([np.roll(special, 7 * place + i) for i in range(4)], 1)
        elif kind == Kind.TREE and FUNCTIONS[name].form == "elementwise":
            # Rolled by the row: all pairs of two trees, or of a tree and a scalar, occur.
            value = np.stack([np.roll(special, place * r) for r in range(rows)])
        elif kind == Kind.TREE:
            value = _trees(place, special)
        else:
            value = None
        with np.errstate(all="ignore"):
            values.append(None if value is None else value.astype(NUMPY[dtype]))
    return values


def _trees(place: int, special: Array) -> Array:
    """Ordinary trees; in most rows one element is special; some are zero, tiny or large."""
    trees = np.random.default_rng(place).normal(size=(len(special), Layouts.whole.elements))
    columns = (np.arange(len(special)) * 5 + place) % Layouts.whole.elements
    trees[np.arange(len(special)), columns] = np.roll(special, 3 * place)
    trees[-8:] = np.random.default_rng(9 + place).normal(size=trees[-8:].shape)
    scales = np.roll([0.0, 1e-12, 1e12, 1.0, 1e-3, 0.0, 1e150, 1e-200], place)
    trees[-8:] *= scales[:, None]
    return trees


def one_statement(name: str, mixture: tuple[Any, ...], variant: int) -> tuple[Program, list[int]]:
    """The program `x = name(...)`, with tensors as states a, b, c and x as the last state."""
    names = [n for n, kind in zip("abc", mixture, strict=False) if isinstance(kind, Kind)]
    kinds = [int(kind) for kind in mixture if isinstance(kind, Kind)]
    arguments = []
    for place, kind in enumerate(mixture):
        literal = CONSTANTS[(variant + 3 * place) % len(CONSTANTS)]
        arguments.append("lr" if kind == "rate" else literal if kind == "literal" else "abc"[place])
    program = Program(
        ("w", "g", *names, "out", "lr"),
        (Statement("x", name, tuple(arguments)),),
        ("w", *names, "x"),
    )
    return program, [*kinds, int(Kind.TREE)]


def expected_result(
    name: str, mixture: tuple[Any, ...], variant: int, dtype: torch.dtype, layout: Layout
) -> tuple[Array, Array]:
    """What the oracle says for the inputs of this mixture, row by row."""
    arguments: list[Array] = []
    for place, value in enumerate(inputs(name, mixture, dtype)):
        if value is None:
            literal = CONSTANTS[(variant + 3 * place) % len(CONSTANTS)]
            number = RATES[variant % len(RATES)] if mixture[place] == "rate" else literal
            with np.errstate(all="ignore"):
                value = np.full((len(SPECIAL), 1), number).astype(NUMPY[dtype])
        arguments.append(value)
    kinds = [kind if isinstance(kind, Kind) else Kind.SCALAR for kind in mixture]
    if name == "norm" and kinds[0] == Kind.TREE:
        parts = np.split(arguments[0], np.cumsum(layout.sizes)[:-1], axis=-1)
        results = [_norm_of_part(dtype, part) for part in parts]
        return tuple(np.concatenate([r[i] for r in results], -1) for i in (0, 1))  # type: ignore
    if name == "norm":
        return np.abs(arguments[0]), np.zeros_like(arguments[0])  # each number is an array of one
    if Kind.TREE in kinds:
        arguments = [
            np.repeat(a, layout.sizes, -1) if k == Kind.ARRAY else a
            for a, k in zip(arguments, kinds, strict=True)
        ]
    return ORACLES[name].exact(dtype, *arguments)


def _norm_of_part(dtype: torch.dtype, part: Array) -> tuple[Array, Array]:
    value, tolerance = ORACLES["norm"].exact(dtype, part)
    if part.shape[-1] != 1:
        return value, tolerance
    with np.errstate(all="ignore"):  # one element: whether its square overflows is left open
        lost = np.isinf(part * part) | (np.abs(part * part) < np.finfo(part.dtype).tiny)
    return np.abs(part), np.where(lost, np.inf, tolerance)


def spread(value: Array, tolerance: Array, layout: Layout) -> tuple[Array, Array]:
    """Broadcast a result of any kind to a tree, as a tree state holds it."""
    shape = (len(SPECIAL), layout.elements)

    def tree(x: Array) -> Array:
        x = np.repeat(x, layout.sizes, -1) if x.shape[-1] == len(layout.sizes) else x
        return np.broadcast_to(x, shape)

    return tree(value), tree(tolerance)


def assert_close(
    got: Array, expected: tuple[Array, Array], name: str, dtype: torch.dtype, where: Any
) -> None:
    """Same NaNs, same infinities with sign, and finite values within the tolerance."""
    value, tolerance = expected
    with np.errstate(all="ignore"):
        finite = np.isfinite(value)
        close = np.where(finite, np.abs(got.astype(np.float64) - value) <= tolerance, got == value)
    close |= np.isnan(got) & np.isnan(value)
    # Where a sum of overflows is NaN, another order of summation may be infinite instead.
    close |= np.isnan(value) & np.isinf(tolerance) & ~np.isfinite(got)
    if not close.all():
        bad = np.argwhere(~close)[0]
        raise AssertionError(
            f"{name} {where} {dtype}: {(~close).sum()} wrong, first at {tuple(bad)}: "
            f"got {got[tuple(bad)]!r}, expected {value[tuple(bad)]!r}"
        )
