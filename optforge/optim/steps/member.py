"""The parameters of a step: how they lie in memory, what must fit them, and their flat form."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.optim.base import REAL
from optforge.optim.checks import check_fits
from optforge.optim.precision.eight_bits import block_size, scale_shape
from optforge.optim.settings import Number
from optforge.optim.steps.layout import PLAIN, local, real
from optforge.optim.steps.piece import Piece, flatten

STATES = ("momentum", "momentum_scale", "compensation")  # as in the values of pieces
AS_IS = 1 << 14  # elements up to which dense parameters keep their shape
WIDE = {torch.float32, torch.float64}


class Member(NamedTuple):
    """A parameter with a gradient, in a step.

    Args:
        number: In its group.
        parameter: Of any layout; it may be distributed or complex.
        state: What is kept for it, changed in place; empty before the first step.
        is_dense: Whether nothing can be wrong, and flat views are all that a step takes.
        is_plain: Whether it is dense, on the CPU, with nothing but a momentum, of one wide dtype.
    """

    number: int
    parameter: Tensor
    state: dict[str, Any]
    is_dense: bool = False
    is_plain: bool = False

    @property
    def gradient(self) -> Tensor:
        """Return the gradient."""
        assert self.parameter.grad is not None
        return self.parameter.grad

    def check(self) -> None:
        """Refuse a gradient or a state that does not fit the parameter.

        A momentum of as many elements in the same order follows a parameter that was reshaped.

        Raises:
            OptimizerError: As `check_fits`.
        """
        state, shape = self.state, tuple(self.parameter.shape)
        if self._is_reshaped(state.get("momentum")):
            state["momentum"] = state["momentum"].view(shape)
        shapes = {"momentum": shape, "compensation": shape, "momentum_scale": scale_shape(shape)}
        rows = {name: (state[name], shapes[name]) for name in STATES if name in state}
        check_fits(self.parameter, self.gradient, rows)

    def _is_reshaped(self, momentum: Tensor | None) -> bool:
        if type(momentum) is not Tensor or momentum.shape == self.parameter.shape:
            return False
        is_alone = len(self.state) == 1 and momentum.numel() == self.parameter.numel()
        return is_alone and momentum.is_contiguous() and self.parameter.is_contiguous()

    def piece(self, key: Number) -> Piece:
        """Return the parameter as a flat piece, or as it is where it is small and dense.

        Args:
            key: Random key of the step.
        """
        parameter, state = self.parameter, self.state
        scale = state.get("momentum_scale")
        block = 0 if scale is None else block_size(parameter.shape)
        values = [parameter, state["momentum"], scale, state.get("compensation")]
        if self.is_dense:
            piece = Piece(values, self.gradient, key, block)
            return piece if parameter.numel() <= AS_IS else piece.flattened()
        values = [None if v is None else real(local(v.detach())) for v in values]
        return flatten(values, real(local(self.gradient, parameter)), key, block)


def members_of(rows: Sequence[tuple[int, Tensor, dict[str, Any]]]) -> list[Member]:
    """Return the members of a step, with what is known of their layout.

    Args:
        rows: Number in the group, parameter and state of each. All are looked at together, for
            most are dense.
    """
    is_dense, is_plain = _layout([row[1] for row in rows], [row[2] for row in rows])
    if not is_dense and len(rows) > 1:
        return [member for row in rows for member in members_of([row])]
    return [Member(*row, is_dense, is_plain) for row in rows]


def _layout(weights: Sequence[Tensor], states: Sequence[dict[str, Any]]) -> tuple[bool, bool]:
    """Return whether members are dense, and whether they are plain; property by property."""
    # `torch.compile` cannot ask for the layout of every kind.
    if not weights or torch.compiler.is_compiling():
        return False, False
    names = [name for name in STATES if name in states[0]]
    if len({len(state) for state in states}) > 1 or any(n not in s for n in names for s in states):
        return False, False
    columns: list[Any] = [[p.grad for p in weights], *([s[n] for s in states] for n in names)]
    shapes = [weight.shape for weight in weights]
    for name, column in zip(("gradient", *names), columns, strict=True):
        wanted: list[Any] = shapes
        if name == "momentum_scale":
            wanted = [torch.Size(scale_shape(shape)) for shape in shapes]
        if [x.shape for x in column] != wanted:
            return False, False
    tensors: list[Tensor] = [*weights, *chain.from_iterable(columns)]
    dtypes, on_cpu = {x.dtype for x in tensors}, {x.is_cpu for x in tensors} == {True}
    is_dense = (
        {type(x) for x in tensors} <= PLAIN
        and {x.layout for x in tensors} == {torch.strided}
        and (on_cpu or len({x.device for x in tensors}) == 1)
        and {weight.dtype for weight in weights} <= set(REAL)
        and not any(dtype.is_complex for dtype in dtypes)
        and all(map(Tensor.is_contiguous, tensors))
        and not any(map(Tensor.is_neg, tensors))
    )
    is_wide = on_cpu and len(dtypes) == 1 and dtypes <= WIDE
    return is_dense, is_dense and is_wide and list(states[0]) == ["momentum"]
