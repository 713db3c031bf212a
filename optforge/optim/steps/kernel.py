"""The compiled kernel of Lion: `lion_update` for one flat piece of any length.

It is compiled once for a set of options and dtypes, on a made-up piece, so neither the model's
shapes nor the learning rate ever cause a compilation, and 400 tensors compile as fast as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.optim.compiler import Kernel, kernels_of
from optforge.optim.lion_settings import StepOptions
from optforge.optim.steps.piece import Piece, PieceKind
from optforge.optim.steps.update import Step, StepNumbers, lion_update

TRIAL = 1 << 16  # elements, at least: the compiler uses all threads
LARGEST = 1 << 30  # elements of one call: element numbers are 32 bits inside the kernel
TOGETHER = (
    4  # pieces of one call, which takes as long as the kernel of 10,000 elements; 8 gain no more
)
Pair = tuple[Tensor | None, Tensor | None]


class LionKernel(NamedTuple):
    """What a compiled kernel of Lion is specialised on.

    Args:
        options: What is fixed.
        kind: Device, dtypes and extras of the pieces.
        is_scaled: Whether there is a factor of a gradient scaler.
        may_skip: Whether a tensor tells that the step must do nothing.
        pieces: Their number in one call.
    """

    options: StepOptions
    kind: PieceKind
    is_scaled: bool
    may_skip: bool
    pieces: int = 1
    is_dynamic = True  # it is for any length

    @staticmethod
    def of(piece: Piece, step: Step) -> LionKernel:
        """Return what the kernel for a piece is specialised on; kernels never ask the host."""
        scaler = (number is not None for number in step.numbers[5:])
        return LionKernel(replace(step.options, capturable=False), piece.kind, *scaler)

    @property
    def is_keyed(self) -> bool:
        """Return whether weights are rounded at random."""
        dtype = self.kind.values[0]
        return self.options.rounding == "stochastic" and dtype is not None and dtype.itemsize == 2

    def sources(self) -> Iterator[tuple[Kernel, Sequence[Any]]]:
        """Yield the function to compile, with a made-up piece of zeros."""
        unit = torch.ones((), dtype=torch.float32, device=self.kind.device)
        scaler = unit if self.is_scaled else None, unit if self.may_skip else None
        numbers = self.vector(StepNumbers(0.0, 0.0, 0.0, 0.0, 0.0))
        pieces = [self.made_up(2 * number + 1) for number in range(self.pieces)]
        yield _function(self), self.arguments(pieces, numbers, scaler)

    def made_up(self, more: int) -> Piece:
        """Return a piece of zeros, in whole blocks.

        Args:
            more: An odd number that no other piece has, for the length stands for any, and equal
                lengths would stand for equal ones.
        """
        kind, block = self.kind, self.kind.block or 1
        blocks = TRIAL // block + more
        counts = blocks * block, blocks * block, blocks, blocks * block

        def zeros(dtype: torch.dtype, count: int) -> Tensor:
            return torch.zeros(count, dtype=dtype, device=kind.device)

        values = [
            dtype and zeros(dtype, count) for dtype, count in zip(kind.values, counts, strict=True)
        ]
        scale = (
            torch.ones((), dtype=torch.float32, device=kind.device) if kind.is_cautious else None
        )
        return Piece(values, zeros(kind.gradient, counts[0]), 0, kind.block, scale)

    def vector(self, numbers: StepNumbers) -> Tensor:
        """Return the numbers of a step in one tensor: as floats they would be compiled in."""
        is_double = self.kind.values[0] is torch.float64
        where: Any = {"dtype": torch.float64 if is_double else torch.float32}
        where["device"] = self.kind.device
        values = numbers[:5]
        if any(isinstance(value, Tensor) for value in values):
            return torch.stack([torch.as_tensor(value, **where).reshape(()) for value in values])
        return torch.tensor(values, **where)

    def arguments(self, pieces: Sequence[Piece], numbers: Tensor, scaler: Pair) -> Sequence[Any]:
        """Return what the kernel is called with."""
        return tuple(map(self._row, pieces)), numbers, scaler

    def _row(self, piece: Piece) -> Sequence[Any]:
        """Return values, gradient, scale and key of a piece; rows of whole blocks for 8 bits."""
        values, gradient = piece.values, piece.gradient
        if piece.block:
            rows = [
                v if v is None or n == 2 else v.view(-1, piece.block) for n, v in enumerate(values)
            ]
            values, gradient = rows, gradient.view(-1, piece.block)
        key = None
        if self.is_keyed:
            key = torch.as_tensor(piece.key, dtype=torch.int32, device=self.kind.device)
        return tuple(values), gradient, piece.cautious_scale, key


def kernel_step(pieces: Sequence[Piece], numbers: StepNumbers, form: LionKernel) -> None:
    """Step pieces of one kernel form, `TOGETHER` in a call, the rest one by one.

    Args:
        pieces: At least two elements each, in whole blocks.
        numbers: Learning rate and the like.
        form: What their kernel is specialised on; it compiles.
    """
    vector = form.vector(numbers)
    grad_scale, found_inf = (
        None if value is None else value.detach().to(form.kind.device, torch.float32).reshape(())
        for value in numbers[5:]
    )
    parts = [part for piece in pieces for part in piece.flattened().cut(LARGEST)]
    together = form._replace(pieces=TOGETHER)
    many = len(parts) >= TOGETHER and kernels_of(together) is not None
    whole = len(parts) // TOGETHER * TOGETHER if many else 0
    for first in range(0, whole, TOGETHER):
        _call(together, parts[first : first + TOGETHER], vector, (grad_scale, found_inf))
    for part in parts[whole:]:
        _call(form, [part], vector, (grad_scale, found_inf))


def _call(form: LionKernel, pieces: Sequence[Piece], vector: Tensor, scaler: Pair) -> None:
    kernels = kernels_of(form)
    assert kernels is not None
    kernels[0](*form.arguments(pieces, vector, scaler))


def _function(form: LionKernel) -> Kernel:
    """Build the function that is compiled.

    Its code gets a name of its own: the compiler counts compilations by code, and refuses more
    than a few of the same.
    """
    options, block = form.options, form.kind.block

    def kernel(rows: Sequence[Any], vector: Tensor, scaler: Pair) -> None:
        lr, decay, ratio, memory, intake = vector.unbind()
        step = Step(StepNumbers(lr, decay, ratio, memory, intake, *scaler), options)
        for values, gradient, cautious_scale, key in rows:
            piece = Piece(values, gradient, 0 if key is None else key, block, cautious_scale)
            for old, new in zip(values, lion_update(piece, step), strict=True):
                if old is not None and new is not None:
                    old.copy_(new)

    code = kernel.__code__.replace(co_name=f"lion_{abs(hash(form)):x}")
    return FunctionType(code, kernel.__globals__, closure=kernel.__closure__)
