"""What a compiled kernel of Lion is specialised on, and the function that is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.optim.lion_settings import Rule
from optforge.optim.steps.flat import FlatParameter
from optforge.optim.steps.update import Numbers, Values, lion_update

FILLER = 128  # elements: half the size of the parameters that fill up a pack


class KernelKind(NamedTuple):
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
    def keyed(self) -> bool:
        """Whether weights are rounded at random."""
        return self.rule.rounding == "stochastic" and self.weight.itemsize == 2


def kernel_kind(part: FlatParameter, numbers: Numbers, rule: Rule) -> KernelKind:
    """Return what the kernel for a part is specialised on."""
    return KernelKind(
        replace(rule, block=part.block, capturable=False),  # kernels never ask the host
        part.gradient.device,
        part.gradient.dtype,
        part.values.weight.dtype,
        part.values.momentum.dtype,
        part.values.compensation is not None,
        part.cautious_scale is not None,
        numbers.grad_scale is not None,
        numbers.found_inf is not None,
    )


def vector_of(numbers: Numbers, kind: KernelKind) -> Tensor:
    """Put the numbers of a step into one tensor: as floats they would be compiled in."""
    dtype = torch.float64 if kind.weight == torch.float64 else torch.float32
    values = numbers[:5]
    if any(isinstance(value, Tensor) for value in values):
        tensors = [torch.as_tensor(value, dtype=dtype, device=kind.device) for value in values]
        return torch.stack([tensor.reshape(()) for tensor in tensors])
    return torch.tensor(values, dtype=dtype, device=kind.device)


def stacked(tensors: Sequence[Any], kind: KernelKind) -> Tensor:
    """Put one number of each parameter into one tensor."""
    return torch.stack([torch.as_tensor(t, device=kind.device).reshape(()) for t in tensors])


def keys_of(parts: Sequence[FlatParameter], kind: KernelKind) -> Tensor | None:
    """Return the random keys of parameters as int32, or None where nothing is rounded at random."""
    if not kind.keyed:
        return None
    keys = [part.key for part in parts]
    if any(isinstance(key, Tensor) for key in keys):
        return stacked(keys, kind).to(torch.int32)
    return torch.tensor(keys, dtype=torch.int32, device=kind.device)


def columns_of(parts: list[FlatParameter], kind: KernelKind) -> tuple[list[Tensor] | None, ...]:
    """Return weights, gradients, momenta, scales and compensations, in rows for 8 bits."""
    columns = list(zip(*(part.values for part in parts), strict=True))
    weights, momenta, scales, kept = [list(c) if c[0] is not None else None for c in columns]
    result = weights, [part.gradient for part in parts], momenta, scales, kept
    block = kind.rule.block
    if not block:
        return result
    whole = [0, 1, 2, 4]  # all but the scales, one of which is for a row
    return tuple(
        [tensor.view(-1, block) for tensor in column] if column and i in whole else column
        for i, column in enumerate(result)
    )


def made_up(kind: KernelKind, count: int) -> FlatParameter:
    """Return a part of zeros, of about `count` elements."""
    block = kind.rule.block
    count -= count % (block or 1)

    def zeros(dtype: torch.dtype, count: int = count) -> Tensor:
        return torch.zeros(count, dtype=dtype, device=kind.device)

    values = Values(
        zeros(kind.weight),
        zeros(kind.momentum),
        zeros(torch.bfloat16, count // block) if block else None,
        zeros(torch.int16) if kind.compensated else None,
    )
    one = torch.ones((), dtype=torch.float32, device=kind.device)
    scale = one if kind.cautious else None
    return FlatParameter(values, zeros(kind.gradient), 0, block, scale)


def kernel_function(kind: KernelKind, pack: int) -> Callable[..., None]:
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
        for i in range(pack):
            values = Values(
                weights[i],
                momenta[i],
                None if scales is None else scales[i],
                None if compensations is None else compensations[i],
            )
            cautious_scale = None if cautious_scales is None else cautious_scales[i]
            key = 0 if keys is None else keys[i]
            new = lion_update(values, gradients[i], cautious_scale, key, numbers, kind.rule)
            for old, value in zip(values, new, strict=True):
                if old is not None and value is not None:
                    old.copy_(value)

    code = kernel.__code__.replace(co_name=f"lion_{abs(hash(kind)):x}")
    return FunctionType(code, kernel.__globals__, closure=kernel.__closure__)
