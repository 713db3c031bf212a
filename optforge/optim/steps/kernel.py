"""Compiled kernels of Lion: `lion_update` for one flat part of any size, by `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.optim.lion_settings import StepOptions
from optforge.optim.steps.flat import FlatParameter, PartKind
from optforge.optim.steps.update import StepNumbers, Values, lion_update

TRIAL = 1 << 16  # elements, at least: the compiler uses all threads
LARGEST = 1 << 30  # elements of one call: element numbers are 32 bits inside the kernel


class KernelKind(NamedTuple):
    """What a compiled kernel is specialised on.

    Args:
        options: What is fixed.
        part: Device, dtypes and extras of the parts.
        scaled: Whether there is a factor of a gradient scaler.
        may_skip: Whether a tensor tells that the step must do nothing.
    """

    options: StepOptions
    part: PartKind
    scaled: bool
    may_skip: bool

    @property
    def keyed(self) -> bool:
        """Whether weights are rounded at random."""
        return self.options.rounding == "stochastic" and self.part.weight.itemsize == 2


def kernel_kind(part: FlatParameter, numbers: StepNumbers, options: StepOptions) -> KernelKind:
    """Return what the kernel for a part is specialised on; kernels never ask the host."""
    options = replace(options, block=part.block, capturable=False)
    found = numbers.found_inf is not None
    return KernelKind(options, part.kind, numbers.grad_scale is not None, found)


def kernel_step(parts: Sequence[FlatParameter], numbers: StepNumbers, kind: KernelKind) -> None:
    """Step parts of one kernel kind, one call each.

    Args:
        parts: At least two elements each, in whole blocks.
        numbers: Learning rate and the like.
        kind: What their kernel is specialised on.
    """
    vector = vector_of(numbers, kind)
    scaler = _scaler(numbers.grad_scale, kind), _scaler(numbers.found_inf, kind)
    for part in parts:
        for piece in part.flattened().slices(LARGEST):
            _run(compiled(kind), piece, vector, scaler, kind)


Pair = tuple[Tensor | None, Tensor | None]


def _run(
    kernel: Callable[..., None],
    piece: FlatParameter,
    vector: Tensor,
    scaler: Pair,
    kind: KernelKind,
) -> None:
    """Run a kernel on a piece, in rows for 8 bits."""
    gradient, values, block = piece.gradient, piece.values, kind.options.block
    if block:
        weight, momentum, scale, kept = values
        kept = None if kept is None else kept.view(-1, block)
        values = Values(weight.view(-1, block), momentum.view(-1, block), scale, kept)
        gradient = gradient.view(-1, block)
    key = (
        torch.as_tensor(piece.key, dtype=torch.int32, device=kind.part.device)
        if kind.keyed
        else None
    )
    kernel(values, gradient, piece.cautious_scale, key, vector, scaler)


def vector_of(numbers: StepNumbers, kind: KernelKind) -> Tensor:
    """Put the numbers of a step into one tensor: as floats they would be compiled in."""
    dtype = torch.float64 if kind.part.weight == torch.float64 else torch.float32
    values = numbers[:5]
    if any(isinstance(value, Tensor) for value in values):
        tensors = [torch.as_tensor(value, dtype=dtype, device=kind.part.device) for value in values]
        return torch.stack([tensor.reshape(()) for tensor in tensors])
    return torch.tensor(values, dtype=dtype, device=kind.part.device)


def _scaler(value: Tensor | None, kind: KernelKind) -> Tensor | None:
    """Return what a gradient scaler brings, as kernels are compiled for it."""
    return None if value is None else value.detach().to(kind.part.device, torch.float32).reshape(())


@cache
def compiled(kind: KernelKind) -> Callable[..., None]:
    """Compile the kernel of a kernel kind, by a run on a made-up part."""
    kernel = torch.compile(kernel_function(kind), dynamic=True, fullgraph=True)
    one = torch.ones((), dtype=torch.float32, device=kind.part.device)
    numbers = StepNumbers(0.0, 0.0, 0.0, 0.0, 0.0)
    scaler = one if kind.scaled else None, one if kind.may_skip else None
    _run(kernel, made_up(kind), vector_of(numbers, kind), scaler, kind)
    return kernel


def made_up(kind: KernelKind) -> FlatParameter:
    """Return a part of zeros, in whole blocks; its numbers are odd, for they stand for any."""
    block = kind.options.block or 1
    blocks = TRIAL // block + 1

    def zeros(dtype: torch.dtype, count: int = blocks * block) -> Tensor:
        return torch.zeros(count, dtype=dtype, device=kind.part.device)

    values = Values(
        zeros(kind.part.weight),
        zeros(kind.part.momentum),
        zeros(torch.bfloat16, blocks) if kind.options.block else None,
        zeros(torch.int16) if kind.part.compensated else None,
    )
    one = torch.ones((), dtype=torch.float32, device=kind.part.device)
    scale = one if kind.part.cautious else None
    return FlatParameter(values, zeros(kind.part.gradient), 0, kind.options.block, scale)


def kernel_function(kind: KernelKind) -> Callable[..., None]:
    """Build the function that is compiled.

    Its code gets a name of its own: the compiler counts compilations by code, and refuses more
    than a few of the same.
    """

    def kernel(
        values: Values,
        gradient: Tensor,
        cautious_scale: Tensor | None,
        key: Tensor | None,
        vector: Tensor,
        scaler: Pair,
    ) -> None:
        lr, decay, ratio, memory, intake = vector.unbind()
        numbers = StepNumbers(lr, decay, ratio, memory, intake, *scaler)
        key_or_none: Any = 0 if key is None else key
        new = lion_update(values, gradient, cautious_scale, key_or_none, numbers, kind.options)
        for old, value in zip(values, new, strict=True):
            if old is not None and value is not None:
                old.copy_(value)

    code = kernel.__code__.replace(co_name=f"lion_{abs(hash(kind)):x}")
    return FunctionType(code, kernel.__globals__, closure=kernel.__closure__)
