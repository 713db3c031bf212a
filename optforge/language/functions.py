"""The one table of functions that programs are made of.

Interpreter, abstract execution, fingerprints, printer, mutation and the tests all read
this table; a new function is one new row. Every ``apply`` works on tensors whose last
dimension is the value (one element for a scalar, one per array, one per parameter element)
and whose leading dimensions are independent rows; constants arrive as Python floats.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-8  # the guard of division, and the value of get_eps()


class Kind(IntEnum):
    """What a variable holds; a mixture of kinds broadcasts to the largest.

    Example:
        >>> max(Kind.SCALAR, Kind.TREE).name
        'TREE'
    """

    SCALAR = 0  # one number
    ARRAY = 1  # one number for each parameter array
    TREE = 2  # one number for each element of each parameter array


@dataclass(frozen=True)
class Function:
    """One row of the table.

    Args:
        name: The name a program uses.
        arity: Number of arguments.
        form: How kinds combine: ``elementwise`` (largest kind of the arguments), ``per_array``
            (a tree becomes one scalar per array), ``whole`` (anything becomes a scalar),
            ``controlled`` (as elementwise, the last argument must be a scalar), ``constant``.
        meaning: The guarded formula, as text.
        apply: The computation on tensors.
        cost: Floating-point operations per element, transcendental functions counted as 10.
        infix: The operator that prints it, if any.
        commutative: Whether the arguments may be exchanged.
    """

    name: str
    arity: int
    form: str
    meaning: str
    apply: Callable[..., Any]
    cost: int = 1
    infix: str | None = None
    commutative: bool = False

    def allows(self, kinds: tuple[int, ...]) -> bool:
        """Tell whether arguments of these kinds are accepted."""
        return self.form != "controlled" or kinds[-1] == Kind.SCALAR

    def result(self, kinds: tuple[int, ...]) -> int:
        """Give the kind of the result for accepted argument kinds."""
        if self.form == "elementwise" or self.form == "controlled":
            return max(kinds)
        if self.form == "per_array":
            return min(kinds[0], Kind.ARRAY)
        return Kind.SCALAR


def _sign(x: Tensor) -> Tensor:
    return torch.where(x != x, x, torch.sign(x))  # torch.sign alone turns NaN into 0


def _cbrt(x: Tensor) -> Tensor:
    return torch.copysign(torch.pow(torch.abs(x), 1 / 3), x)


def _log1p(x: Tensor) -> Tensor:
    return torch.log1p(torch.where(x < -1, -2 - x, x))  # log|1 + x|, accurate near 0


def _sqrt(x: Tensor) -> Tensor:
    return torch.abs(x).sqrt_()


def _divide(x: Any, y: Any) -> Tensor:
    return x / (y + EPSILON)


def _extreme(both: Callable[..., Tensor], bound: str) -> Callable[[Any, Any], Tensor]:
    """Build maximum or minimum; a float argument becomes a clamp, which keeps NaN as well."""

    def apply(x: Any, y: Any) -> Tensor:
        if isinstance(y, float):
            return torch.clamp(x, **{bound: y})
        if isinstance(x, float):
            return torch.clamp(y, **{bound: x})
        return both(x, y)

    return apply


def _global_norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def _dot(x: Any, y: Any) -> Tensor:
    return (x * y).sum(-1, keepdim=True)


def _cosine_similarity(x: Any, y: Any) -> Tensor:
    if isinstance(x, float) or isinstance(y, float):
        tensor = y if isinstance(x, float) else x
        x, y = (torch.as_tensor(v, dtype=tensor.dtype, device=tensor.device) for v in (x, y))
    x, y = torch.broadcast_tensors(x, y)
    norm_x, norm_y = _global_norm(x), _global_norm(y)
    # Each side is scaled before the product, so that small and large trees do not under- or overflow.
    similarity = ((x / norm_x) * (y / norm_y)).sum(-1, keepdim=True)
    zero = (norm_x == 0) | (norm_y == 0)
    return torch.where(zero, torch.zeros_like(similarity), similarity)


def _clip(x: Tensor, limit: Any) -> Tensor:
    norm = _global_norm(x)
    factor = torch.where(norm == 0, torch.ones_like(norm), limit / norm)
    return x * torch.clamp(factor, max=1.0)


def _interp(x: Any, y: Any, amount: Any) -> Tensor:
    if isinstance(amount, float) and isinstance(y, Tensor):
        return torch.add(x * (1 - amount), y, alpha=amount) if isinstance(x, Tensor) else (
            x * (1 - amount) + y * amount
        )
    return x * (1 - amount) + y * amount


def _unary(name: str, meaning: str, apply: Callable[..., Tensor], cost: int = 10) -> Function:
    return Function(name, 1, "elementwise", meaning, apply, cost)


def _constant(name: str, meaning: str, value: float) -> Function:
    return Function(name, 0, "constant", meaning, lambda: value, 0)


_ROWS = (
    _unary("abs", "|x|", torch.abs, 1),
    _unary("cos", "cos x", torch.cos),
    _unary("sin", "sin x", torch.sin),
    _unary("tan", "tan x", torch.tan),
    _unary("arcsin", "arcsin x, NaN outside [-1, 1]", torch.arcsin),
    _unary("arccos", "arccos x, NaN outside [-1, 1]", torch.arccos),
    _unary("arctan", "arctan x", torch.arctan),
    _unary("exp", "e^x", torch.exp),
    _unary("log", "ln |x|", lambda x: torch.abs(x).log_()),
    _unary("sinh", "sinh x", torch.sinh),
    _unary("cosh", "cosh x", torch.cosh),
    _unary("tanh", "tanh x", torch.tanh),
    _unary("arcsinh", "arsinh x", torch.arcsinh),
    _unary("arccosh", "arcosh x, NaN below 1", torch.arccosh),
    _unary("arctanh", "artanh x, NaN outside [-1, 1]", torch.arctanh),
    _unary("sign", "-1, 0 or 1; NaN stays NaN", _sign, 1),
    _unary("exp2", "2^x", torch.exp2),
    _unary("exp10", "10^x", lambda x: torch.pow(10.0, x)),
    _unary("expm1", "e^x - 1", torch.expm1),
    _unary("log10", "log10 |x|", lambda x: torch.abs(x).log10_()),
    _unary("log2", "log2 |x|", lambda x: torch.abs(x).log2_()),
    _unary("log1p", "ln |1 + x|", _log1p),
    _unary("square", "x^2", lambda x: x * x, 1),
    _unary("sqrt", "sqrt |x|", _sqrt, 2),
    _unary("cube", "x^3", lambda x: x * x * x, 2),
    _unary("cbrt", "real cube root of x", _cbrt),
    _unary("reciprocal", "1 / x, not guarded", torch.reciprocal, 1),
    _unary("negative", "-x", torch.neg, 1),
    Function("add", 2, "elementwise", "x + y", operator.add, 1, "+", True),
    Function("subtract", 2, "elementwise", "x - y", operator.sub, 1, "-"),
    Function("multiply", 2, "elementwise", "x y", operator.mul, 1, "*", True),
    Function("divide", 2, "elementwise", "x / (y + 1e-8)", _divide, 2, "/"),
    Function("power", 2, "elementwise", "x^y as IEEE 754 has it", torch.pow, 10, "**"),
    Function(
        "maximum", 2, "elementwise", "max(x, y), NaN wins", _extreme(torch.maximum, "min"), 1,
        commutative=True,
    ),
    Function(
        "minimum", 2, "elementwise", "min(x, y), NaN wins", _extreme(torch.minimum, "max"), 1,
        commutative=True,
    ),
    Function("norm", 1, "per_array", "Euclidean norm of each array", torch.abs, 2),
    Function("global_norm", 1, "whole", "Euclidean norm of the whole tree", _global_norm, 2),
    Function("dot", 2, "whole", "inner product of whole trees", _dot, 2, commutative=True),
    Function(
        "cosine_sim", 2, "whole", "inner product of whole trees of length 1; 0 for a zero tree",
        _cosine_similarity, 6, commutative=True,
    ),
    Function("clip", 2, "controlled", "x min(1, c / |x|) with the global norm", _clip, 3),
    Function("interp", 3, "controlled", "(1 - a) x + a y", _interp, 3),
    _constant("get_pi", "3.14159...", math.pi),
    _constant("get_e", "2.71828...", math.e),
    _constant("get_eps", "1e-8", EPSILON),
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({row.name: row for row in _ROWS})
ALIASES: Mapping[str, str] = MappingProxyType({"min": "minimum", "max": "maximum"})
FUNCTION_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType({"paper": tuple(FUNCTIONS)})
