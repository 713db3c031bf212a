"""The computations of the table's functions, in torch or in NumPy.

Each function here takes the module ``xp``, ``torch`` or ``numpy``, and returns the computation in
it. Functions that build such a function say so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optforge.language.function import Apply, Engine


def sign(xp: Any) -> Apply:
    """Return the function sign(x): -1, 0 or 1; NaN stays NaN."""
    if xp is not torch:
        return xp.sign
    return lambda x: torch.where(x != x, x, torch.sign(x))  # torch.sign turns NaN into 0


def cbrt(xp: Any) -> Apply:
    """Return the real cube root."""
    if xp is not torch:
        return xp.cbrt
    return lambda x: torch.copysign(torch.pow(torch.abs(x), 1 / 3), x)


def exp10(xp: Any) -> Apply:
    """Return the function 10^x."""
    raised = power(xp)
    return lambda x: raised(10.0, x)


def log1p(xp: Any) -> Apply:
    """Return the function ln |1 + x|."""
    return lambda x: xp.log1p(xp.where(x < -1, -2 - x, x))  # log|1 + x|, accurate near 0


def of_magnitude(name: str) -> Engine:
    """Build a function of |x|."""

    def build(xp: Any) -> Apply:
        function, magnitude = getattr(xp, name), xp.abs
        return lambda x: function(magnitude(x))

    return build


def extreme(name: str, bound: str) -> Engine:
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


def power(xp: Any) -> Apply:
    """Return the function x^y as in IEEE 754."""
    power = torch.pow if xp is torch else xp.power

    def apply(x: Any, y: Any) -> Any:
        if isinstance(y, float) and abs(y) == 0.5:  # both engines take a root: wrong at -inf, -0.0
            y = xp.full_like(x, y)
        return power(x, y)

    return apply


def global_norm(xp: Any) -> Apply:
    """Return the Euclidean norm over the last dimension."""
    return lambda x: xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))


def dot(xp: Any) -> Apply:
    """Return the inner product over the last dimension."""
    return lambda x, y: xp.sum(x * y, axis=-1, keepdims=True)


def cosine_similarity(xp: Any) -> Apply:
    """Return the inner product of normalized values; 0 if one of them is zero."""
    norm = global_norm(xp)

    def apply(x: Any, y: Any) -> Any:
        ones = [1.0 if isinstance(v, float) else xp.ones_like(v) for v in (x, y)]
        x, y = x * ones[1], y * ones[0]  # both of the larger kind; a constant becomes an array
        norm_x, norm_y = norm(x), norm(y)
        # Each side is scaled before the product, so that tiny trees do not underflow.
        similarity = xp.sum((x / norm_x) * (y / norm_y), axis=-1, keepdims=True)
        return xp.where((norm_x == 0) | (norm_y == 0), 0.0, similarity)

    return apply


def clip(xp: Any) -> Apply:
    """Return the function that scales x to at most a given norm."""
    norm, smaller = global_norm(xp), extreme("minimum", "max")(xp)

    def apply(x: Any, limit: Any) -> Any:
        if isinstance(x, float):
            x = x * xp.ones_like(limit)
        length = norm(x)
        if isinstance(limit, float):  # torch takes 1 / length first: infinite if denormal
            limit = xp.full_like(length, limit)
        factor = xp.where(length == 0, 1.0, limit / length)
        return x * smaller(factor, 1.0)

    return apply


def magnitude(xp: Any) -> Apply:
    """Return the function |x|."""
    return xp.abs


def transposed(xp: Any) -> Apply:
    """Return the function that swaps the last two dimensions."""
    return lambda x: x.mT if xp is torch else xp.swapaxes(x, -1, -2)


def itself(xp: Any) -> Apply:
    """Return the identity function."""
    return lambda x: x


def where(xp: Any) -> Apply:
    """Return the function that selects by the sign of its first argument (at least 0, or below)."""

    def apply(condition: Any, x: Any, y: Any) -> Any:
        if isinstance(condition, float):
            condition = xp.full_like(y if isinstance(x, float) else x, condition)
        if isinstance(x, float) and isinstance(y, float):  # they would get a dtype of their own
            x = xp.full_like(condition, x)
        return xp.where(condition >= 0, x, y)

    return apply


def mean_of(*axes: int) -> Engine:
    """Build the mean over some dimensions, which stay with size 1."""
    return lambda xp: lambda x: xp.mean(x, axis=axes, keepdims=True)


def norm_of(*axes: int) -> Engine:
    """Build the Euclidean norm over some dimensions, which stay with size 1."""
    return lambda xp: lambda x: xp.sqrt(xp.sum(x * x, axis=axes, keepdims=True))


def rms_of(*axes: int) -> Engine:
    """Build the root mean square over some dimensions, which stay with size 1."""
    return lambda xp: lambda x: xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True))
