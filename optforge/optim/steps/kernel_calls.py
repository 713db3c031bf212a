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
    KernelKey,
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


def packed_step(members: Sequence[FlatParameter], numbers: Numbers, form: KernelKey) -> None:
    """Step leaves of one form, a pack at a time.

    Args:
        members: The leaves.
        numbers: Learning rate and the like.
        form: What their kernel is specialised on.
    """
    vector, pack = vector_of(numbers, form), pack_size(form)
    parts = [part for leaf in members for part in leaf.flattened().slices(LARGEST)]
    for first in range(0, len(parts), pack):
        _run(form, parts[first : first + pack], vector, numbers)


def pack_size(form: KernelKey) -> int:
    """Give the number of parameters that one call takes."""
    return PACK_OF_8_BITS if form.rule.block else PACK


def _run(form: KernelKey, members: list[FlatParameter], vector: Tensor, numbers: Numbers) -> None:
    """Run a pack, filled up with made-up parameters."""
    kernel, fillers = compiled(form)
    leaves = [*members, *fillers[len(members) :]]
    scales = stacked([leaf.cautious_scale for leaf in leaves], form) if form.cautious else None
    keys = keys_of(leaves, form)
    extra = numbers.grad_scale, numbers.found_inf
    scaler = [None if e is None else _scaler(e, form) for e in extra]
    kernel(*columns_of(leaves, form), scales, keys, vector, *scaler)


def _scaler(value: Tensor, form: KernelKey) -> Tensor:
    """Return what a gradient scaler brings, as kernels are compiled for it."""
    return value.detach().to(form.device, torch.float32).reshape(())


@cache
def compiled(form: KernelKey) -> tuple[Callable[..., None], list[FlatParameter]]:
    """Compile the kernel of a form, by a run on made-up parameters.

    Their sizes all differ, so that the compiler takes none for equal, and are large enough that
    it uses all threads.

    Returns:
        The kernel, and eight small leaves to fill packs with.
    """
    function = kernel_function(form, pack_size(form))
    kernel = torch.compile(function, dynamic=True, fullgraph=True)
    large = [made_up(form, 128 * (512 + number)) for number in range(pack_size(form))]
    one = torch.zeros((), dtype=torch.float32, device=form.device)
    scaler = one if form.scaled else None, one if form.may_skip else None
    numbers = Numbers(0.0, 0.0, 0.0, 0.0, 0.0, *scaler)
    columns = columns_of(large, form)
    for column in columns[:3]:
        for tensor in column or []:
            torch._dynamo.mark_dynamic(tensor, 0)
    scales = stacked([leaf.cautious_scale for leaf in large], form) if form.cautious else None
    kernel(*columns, scales, keys_of(large, form), vector_of(numbers, form), *numbers[5:])
    return kernel, [made_up(form, 2 * (form.rule.block or FILLER)) for _ in range(pack_size(form))]
