"""Compiled kernels that take a pack of parameters, called as torch.compile has it.

A kernel takes eight parameters of any sizes (two, if momentum has 8 bits), so that 400 tensors
compile as fast as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from optforge.optim.steps.flat import FlatParameter
from optforge.optim.steps.kernel import (
    FILLER,
    KernelKind,
    columns_of,
    kernel_function,
    keys_of,
    made_up,
    stacked,
    vector_of,
)
from optforge.optim.steps.update import Numbers

PACK = 8
PACK_OF_8_BITS = 2  # its kernels are long
LARGEST = 1 << 30  # elements of one entry: element numbers are 32 bits inside the kernel


def packed_step(members: Sequence[FlatParameter], numbers: Numbers, kind: KernelKind) -> None:
    """Step parts of one kernel kind, a pack at a time.

    Args:
        members: The parts.
        numbers: Learning rate and the like.
        kind: What their kernel is specialised on.
    """
    vector, pack = vector_of(numbers, kind), pack_size(kind)
    pieces = [piece for part in members for piece in part.flattened().slices(LARGEST)]
    for first in range(0, len(pieces), pack):
        _run(kind, pieces[first : first + pack], vector, numbers)


def pack_size(kind: KernelKind) -> int:
    """Return the number of parameters that one call takes."""
    return PACK_OF_8_BITS if kind.rule.block else PACK


def _run(kind: KernelKind, members: list[FlatParameter], vector: Tensor, numbers: Numbers) -> None:
    """Run a pack, filled up with made-up parameters."""
    kernel, fillers = compiled(kind)
    parts = [*members, *fillers[len(members) :]]
    scales = stacked([part.cautious_scale for part in parts], kind) if kind.cautious else None
    keys = keys_of(parts, kind)
    extra = numbers.grad_scale, numbers.found_inf
    scaler = [None if e is None else _scaler(e, kind) for e in extra]
    kernel(*columns_of(parts, kind), scales, keys, vector, *scaler)


def _scaler(value: Tensor, kind: KernelKind) -> Tensor:
    """Return what a gradient scaler brings, as kernels are compiled for it."""
    return value.detach().to(kind.device, torch.float32).reshape(())


@cache
def compiled(kind: KernelKind) -> tuple[Callable[..., None], list[FlatParameter]]:
    """Compile the kernel of a kernel kind, by a run on made-up parameters.

    Their sizes all differ, so that the compiler takes none for equal, and are large enough that
    it uses all threads.

    Returns:
        The kernel, and eight small parts to fill packs with.
    """
    function = kernel_function(kind, pack_size(kind))
    kernel = torch.compile(function, dynamic=True, fullgraph=True)
    large = [made_up(kind, 128 * (512 + number)) for number in range(pack_size(kind))]
    one = torch.zeros((), dtype=torch.float32, device=kind.device)
    scaler = one if kind.scaled else None, one if kind.may_skip else None
    numbers = Numbers(0.0, 0.0, 0.0, 0.0, 0.0, *scaler)
    columns = columns_of(large, kind)
    for column in columns[:3]:
        for tensor in column or []:
            torch._dynamo.mark_dynamic(tensor, 0)
    scales = stacked([part.cautious_scale for part in large], kind) if kind.cautious else None
    kernel(*columns, scales, keys_of(large, kind), vector_of(numbers, kind), *numbers[5:])
    return kernel, [made_up(kind, 2 * (kind.rule.block or FILLER)) for _ in range(pack_size(kind))]
