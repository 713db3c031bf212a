"""The primitive operations that graphs of programs consist of, on tensors and lists of tensors.

Arguments are tensors, or Python floats for what is one number; a float has no dtype, so that it
takes that of the tensors beside it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from optforge.optim.rules.arrays import SHAPED, WHOLE, orthogonalize_each
from optforge.optim.steps.piece import LISTS

Operand = Tensor | float


def _tensor(x: Operand, like: Operand) -> Tensor:
    if isinstance(x, Tensor):
        return x
    is_tensor = isinstance(like, Tensor)
    dtype, device = (like.dtype, like.device) if is_tensor else (torch.float64, "cpu")
    return torch.full((), x, dtype=dtype, device=device)


def _sign(x: Tensor) -> Tensor:
    return torch.where(x != x, x, torch.sign(x))  # torch.sign turns NaN into 0


def _cbrt(x: Tensor) -> Tensor:
    return torch.copysign(torch.pow(torch.abs(x), 1 / 3), x)


def _power(x: Operand, y: Operand) -> Tensor:
    # A float as exponent may become a root, which is wrong at -inf and -0.0.
    return torch.pow(_tensor(x, y), _tensor(y, x))


def _extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Operand, Operand], Tensor]:
    return lambda x, y: function(_tensor(x, y), _tensor(y, x))


def _spread(x: Operand, like: Tensor) -> Tensor:
    return torch.ones_like(like) * x


def _select(condition: Tensor, x: Operand, y: Operand) -> Tensor:
    return torch.where(condition, _tensor(x, y), _tensor(y, x))


def _where(condition: Operand, x: Operand, y: Operand) -> Tensor:
    """Choose by the sign of a condition; any of the three may be one number."""
    operands = (condition, x, y)
    like = next((o for o in operands if isinstance(o, Tensor)), condition)
    condition, x, y = (_tensor(operand, like) for operand in operands)
    return torch.where(condition >= 0, x, y)


def total(x: Tensor) -> Tensor:
    """Add up all elements in float64, so that the order in which they come does not matter."""
    return x.sum() if x.device.type == "mps" else x.sum(dtype=torch.float64)  # mps has no float64


_UNARY = {
    **{name: name for name in ("abs", "cos", "sin", "tan", "exp", "sinh", "cosh", "tanh")},
    **{"arcsin": "asin", "arccos": "acos", "arctan": "atan", "exp2": "exp2", "expm1": "expm1"},
    **{"arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "negative": "neg"},
    **{name: name for name in ("log", "log10", "log2", "log1p", "sqrt", "reciprocal")},
}
PRIMITIVES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: getattr(torch, of_torch) for name, of_torch in _UNARY.items()},
        **{"sign": _sign, "cbrt": _cbrt, "power": _power, "spread": _spread, "where": _where},
        **{"maximum": _extreme(torch.maximum), "minimum": _extreme(torch.minimum)},
        **{"add": operator.add, "subtract": operator.sub, "multiply": operator.mul},
        **{"divide": operator.truediv, "equal": operator.eq, "not_equal": operator.ne},
        **{"less": operator.lt, "bitwise_or": operator.or_, "select": _select},
        **WHOLE,
        **SHAPED,
    }
)


def _parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut |x| to n log 2 + r with |r| < 0.35, for both functions below.

    Returns:
        sinh(r) and cosh(r) by their series, and 2^(n-2) and 2^-(n+2), put together from bits: the
        halves of what is wanted do not overflow before the results do.
    """
    size = torch.clamp(torch.abs(x), max=89.5)  # infinite from there on
    n = torch.round(size * 1.4426950408889634)
    r = (size - n * 0.693359375) - n * -2.1219444005469057e-4  # the first product is exact
    square = r * r
    odd = r + r * square * (1 / 6 + square * (1 / 120 + square * (1 / 5040)))
    even = 1 + square * (0.5 + square * (1 / 24 + square * (1 / 720)))
    exponent = n.to(torch.int32)
    large = ((exponent + 125) << 23).view(torch.float32)
    small = (torch.clamp(125 - exponent, min=0) << 23).view(torch.float32)
    return odd, even, large, small


def _sinh(x: Tensor) -> Tensor:
    odd, even, large, small = _parts(x)  # near zero n is 0, so that no digits are lost
    half = even * (large - small) + odd * (large + small)
    return torch.copysign(half + half, x)


def _cosh(x: Tensor) -> Tensor:
    odd, even, large, small = _parts(x)
    half = even * (large + small) + odd * (large - small)
    return half + half


# For compiled kernels in float32, to a few units in the last place: the compiler has no vector form
# of these two, which makes them seventy times as slow as the rest of a rule.
VECTOR_FLOAT32: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {"sinh": _sinh, "cosh": _cosh}
)

_FOREACH_UNARY = {
    name: function
    for name, of_torch in _UNARY.items()
    if (function := getattr(LISTS, f"_foreach_{of_torch}", None)) is not None
}
_FOREACH_BINARY = {
    "add": LISTS._foreach_add,
    "subtract": LISTS._foreach_sub,
    "multiply": LISTS._foreach_mul,
    "divide": LISTS._foreach_div,
}
_COMMUTATIVE = ("add", "multiply")


def apply_foreach(op: str, arguments: list[Any]) -> list[Tensor]:
    """Apply a primitive to lists of tensors of one length; floats and tensors count for all.

    Args:
        op: A name in ``PRIMITIVES``.
        arguments: Lists, or what is one number.
    """
    if op == "orthogonalize":
        return orthogonalize_each(arguments[0])
    if op in _FOREACH_UNARY:
        return list(_FOREACH_UNARY[op](arguments[0]))
    if op in _FOREACH_BINARY:
        x, y = arguments
        if op in _COMMUTATIVE and not isinstance(x, list):
            x, y = y, x
        if isinstance(x, list) and not isinstance(y, Tensor) and _alike(x, y):
            return list(_FOREACH_BINARY[op](x, y))
    return apply_each(op, arguments)


def _alike(x: list[Tensor], y: Any) -> bool:
    return not isinstance(y, list) or all(a.shape == b.shape for a, b in zip(x, y, strict=True))


def apply_each(op: str, arguments: list[Any]) -> list[Tensor]:
    """Apply a primitive to one tensor of each list after the other."""
    length = next(len(a) for a in arguments if isinstance(a, list))
    columns = [a if isinstance(a, list) else [a] * length for a in arguments]
    function = PRIMITIVES[op]
    return [function(*row) for row in zip(*columns, strict=True)]


def fitting(value: float, dtype: torch.dtype) -> float:
    """Return an infinity for a number that is beyond a dtype, where torch would raise."""
    return math.copysign(math.inf, value) if abs(value) > torch.finfo(dtype).max else value
