"""The fused path: the maths of `lion_update`, compiled by `torch.compile` to one kernel.

A kernel takes a pack of eight parameters of any sizes (two, if momentum has 8 bits). It is
compiled once for a rule and its dtypes, on made-up parameters, so neither the model's shapes nor
the learning rate ever cause a compilation, and 400 tensors compile as fast as one.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.optim.leaves import Leaf, by_kind
from optforge.optim.options import Rule
from optforge.optim.step_foreach import foreach_step
from optforge.optim.update import Numbers, Values, lion_update

PACK = 8
PACK_OF_8_BITS = 2  # its kernels are long
LARGEST = 1 << 30  # elements of one entry: element numbers are 32 bits inside the kernel
FEW = 128  # smaller parameters are left to foreach
FEW_ON_CPU = 1 << 13  # there the call of a kernel costs more than the step of fewer


class Form(NamedTuple):
    """What a compiled kernel is specialised on.

    Args:
        rule: What is fixed.
        device: Where.
        gradient: Dtype of the gradients.
        weight: Dtype of the weights.
        momentum: Dtype of the momenta or their codes.
        compensated: Whether there are compensations.
        cautious: Whether there are scales of cautious updates.
        scaled: Whether there is a factor of a gradient scaler.
        may_skip: Whether a tensor tells that the step must do nothing.
    """

    rule: Rule
    device: torch.device
    gradient: torch.dtype
    weight: torch.dtype
    momentum: torch.dtype
    compensated: bool
    cautious: bool
    scaled: bool
    may_skip: bool

    @property
    def pack(self) -> int:
        """Give the number of parameters that one call takes."""
        return PACK_OF_8_BITS if self.rule.block else PACK


@cache
def has_compiler() -> bool:
    """Tell whether `torch.compile` finds a C++ compiler; warn once if not."""
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    if any(name and shutil.which(name) for name in names):
        return True
    warnings.warn(
        "fused=True, but no C++ compiler was found (g++, clang++ or $CXX): foreach runs in its "
        "place. Install one, or leave fused=None",
        stacklevel=6,
    )
    return False


def fused_step(leaves: Sequence[Leaf], numbers: Numbers, rule: Rule) -> None:
    """Step all leaves by compiled kernels, a pack at a time.

    Args:
        leaves: The parameters.
        numbers: Learning rate and the like.
        rule: What is fixed.
    """
    if leaves and leaves[0].gradient.device.type == "cpu" and not has_compiler():
        foreach_step(leaves, numbers, rule)
        return
    fitting = [leaf for leaf in leaves if fits(leaf)]
    if len(fitting) < len(leaves):
        foreach_step([leaf for leaf in leaves if not fits(leaf)], numbers, rule)
    for members in by_kind(fitting):
        form = form_of(members[0], numbers, rule)
        vector = _vector(numbers, form)
        parts = [part for leaf in members for part in leaf.flattened().slices(LARGEST)]
        for first in range(0, len(parts), form.pack):
            _run(form, parts[first : first + form.pack], vector, numbers)


def fits(leaf: Leaf) -> bool:
    """Tell whether kernels take a leaf: not small, and its blocks are full."""
    count = leaf.gradient.numel()
    # Rounding and codes of 8 bits take many operations, which foreach does one by one.
    values = leaf.values
    cheap = min(values.weight.dtype.itemsize, values.momentum.dtype.itemsize) >= 4
    few = FEW_ON_CPU if cheap and leaf.gradient.device.type == "cpu" else FEW
    return count >= few and not (leaf.block and count % leaf.block)


def form_of(leaf: Leaf, numbers: Numbers, rule: Rule) -> Form:
    """Give what the kernel for a leaf is specialised on."""
    return Form(
        replace(rule, block=leaf.block, capturable=False),  # kernels never ask the host
        leaf.gradient.device,
        leaf.gradient.dtype,
        leaf.values.weight.dtype,
        leaf.values.momentum.dtype,
        leaf.values.compensation is not None,
        leaf.cautious_scale is not None,
        numbers.grad_scale is not None,
        numbers.found_inf is not None,
    )


def _vector(numbers: Numbers, form: Form) -> Tensor:
    """Put the numbers of a step into one tensor: as floats they would be compiled in."""
    dtype = torch.float64 if form.weight == torch.float64 else torch.float32
    values = numbers[:5]
    if any(isinstance(value, Tensor) for value in values):
        tensors = [torch.as_tensor(value, dtype=dtype, device=form.device) for value in values]
        return torch.stack([tensor.reshape(()) for tensor in tensors])
    return torch.tensor(values, dtype=dtype, device=form.device)


def _run(form: Form, members: list[Leaf], vector: Tensor, numbers: Numbers) -> None:
    """Run a pack, filled up with made-up parameters."""
    kernel, fillers = compiled(form)
    leaves = [*members, *fillers[len(members) :]]
    scales = _stacked([leaf.cautious_scale for leaf in leaves], form) if form.cautious else None
    keys = _keys(leaves, form)
    extra = numbers.grad_scale, numbers.found_inf
    scaler = [None if e is None else e.detach().reshape(()) for e in extra]
    kernel(*_columns(leaves, form), scales, keys, vector, *scaler)


def _stacked(tensors: list[Any], form: Form) -> Tensor:
    return torch.stack([torch.as_tensor(t, device=form.device).reshape(()) for t in tensors])


def _keys(leaves: list[Leaf], form: Form) -> Tensor | None:
    if form.rule.rounding != "stochastic" or form.weight.itemsize != 2:
        return None
    if any(isinstance(leaf.key, Tensor) for leaf in leaves):
        return _stacked([leaf.key for leaf in leaves], form).to(torch.int32)
    return torch.tensor([leaf.key for leaf in leaves], dtype=torch.int32, device=form.device)


def _columns(leaves: list[Leaf], form: Form) -> tuple[list[Tensor] | None, ...]:
    """Give weights, gradients, momenta, scales and compensations, in rows of blocks for 8 bits."""
    columns = list(zip(*(leaf.values for leaf in leaves), strict=True))
    weights, momenta, scales, kept = [list(c) if c[0] is not None else None for c in columns]
    result = weights, [leaf.gradient for leaf in leaves], momenta, scales, kept
    block = form.rule.block
    if not block:
        return result
    whole = [0, 1, 2, 4]  # all but the scales, one of which is for a row
    return tuple(
        [tensor.view(-1, block) for tensor in column] if column and i in whole else column
        for i, column in enumerate(result)
    )


@cache
def compiled(form: Form) -> tuple[Callable[..., None], list[Leaf]]:
    """Compile the kernel of a form, by a run on made-up parameters.

    Their sizes all differ, so that the compiler takes none for equal, and are large enough that
    it uses all threads.

    Returns:
        The kernel, and eight small leaves to fill packs with.
    """
    function = _kernel_function(form)
    kernel = torch.compile(function, dynamic=True, fullgraph=True)
    large = [_made_up(form, 128 * (512 + number)) for number in range(form.pack)]
    one = torch.zeros((), device=form.device)
    scaler = one if form.scaled else None, one if form.may_skip else None
    numbers = Numbers(0.0, 0.0, 0.0, 0.0, 0.0, *scaler)
    columns = _columns(large, form)
    for column in columns[:3]:
        for tensor in column or []:
            torch._dynamo.mark_dynamic(tensor, 0)
    scales = _stacked([leaf.cautious_scale for leaf in large], form) if form.cautious else None
    kernel(*columns, scales, _keys(large, form), _vector(numbers, form), *numbers[5:])
    return kernel, [_made_up(form, 2 * (form.rule.block or FEW)) for _ in range(form.pack)]


def _made_up(form: Form, count: int) -> Leaf:
    block = form.rule.block
    count -= count % (block or 1)

    def zeros(dtype: torch.dtype, count: int = count) -> Tensor:
        return torch.zeros(count, dtype=dtype, device=form.device)

    values = Values(
        zeros(form.weight),
        zeros(form.momentum),
        zeros(torch.bfloat16, count // block) if block else None,
        zeros(torch.int16) if form.compensated else None,
    )
    scale = torch.ones((), device=form.device) if form.cautious else None
    return Leaf(values, zeros(form.gradient), 0, block, scale)


def _kernel_function(form: Form) -> Callable[..., None]:
    """Build the function that is compiled.

    Its code gets a name of its own: the compiler counts compilations by code, and refuses more
    than a few of the same.
    """

    def kernel(
        weights: list[Tensor],
        gradients: list[Tensor],
        momenta: list[Tensor],
        scales: list[Tensor] | None,
        compensations: list[Tensor] | None,
        cautious_scales: Tensor | None,
        keys: Tensor | None,
        vector: Tensor,
        grad_scale: Tensor | None,
        found_inf: Tensor | None,
    ) -> None:
        lr, decay, ratio, memory, intake = vector.unbind()
        numbers = Numbers(lr, decay, ratio, memory, intake, grad_scale, found_inf)
        for i in range(form.pack):
            values = Values(
                weights[i],
                momenta[i],
                None if scales is None else scales[i],
                None if compensations is None else compensations[i],
            )
            cautious_scale = None if cautious_scales is None else cautious_scales[i]
            key = 0 if keys is None else keys[i]
            new = lion_update(values, gradients[i], cautious_scale, key, numbers, form.rule)
            for old, value in zip(values, new, strict=True):
                if old is not None and value is not None:
                    old.copy_(value)

    code = kernel.__code__.replace(co_name=f"lion_{abs(hash(form)):x}")
    return FunctionType(code, kernel.__globals__, closure=kernel.__closure__)
