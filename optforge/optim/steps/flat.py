"""Parameters as flat tensors: one form for every layout, dtype and sharding.

A part is one parameter with its gradient and state as flat tensors in one order of elements. They
are views wherever memory allows it; otherwise they are copies, and `write_back` brings them home.
Small contiguous parameters stay as they are: their views would cost more than their step.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.optim.checks import check_fits
from optforge.optim.precision.eight_bits import block_size, scale_shape
from optforge.optim.precision.rounding import moved
from optforge.optim.settings import Number
from optforge.optim.steps.layout import is_simple, local, real
from optforge.optim.steps.update import Values

SMALL = 1 << 14  # elements


class Member(NamedTuple):
    """A parameter with a gradient, in a step.

    Args:
        number: In its group.
        parameter: Of any layout; it may be distributed or complex.
        state: What is kept for it, changed in place.
        is_plain: Whether `are_plain` holds for it.
    """

    number: int
    parameter: Tensor
    state: dict[str, Any]
    is_plain: bool = False


class PartKind(NamedTuple):
    """What parts share that are stepped together.

    Args:
        device: Where.
        weight: Dtype of the weights.
        momentum: Dtype of the momenta or their codes.
        gradient: Dtype of the gradients.
        block: Elements for each scale of 8-bit momentum, else 0.
        compensated: Whether there are compensations.
        cautious: Whether there are scales of cautious updates.
    """

    device: torch.device
    weight: torch.dtype
    momentum: torch.dtype
    gradient: torch.dtype
    block: int
    compensated: bool
    cautious: bool


@dataclass(slots=True)
class FlatParameter:
    """One parameter of a step.

    Args:
        values: Weight and state, flat.
        gradient: Flat, same order of elements.
        key: Random key of this step and the first element, where rounding needs one.
        block: Elements for each scale of 8-bit momentum, else 0.
        cautious_scale: One over the share of agreeing elements, where updates are cautious.
        copies: Tensors to write when the step is done: (kept tensor, flat copy as its shape).
    """

    values: Values
    gradient: Tensor
    key: Number = 0
    block: int = 0
    cautious_scale: Tensor | None = None
    copies: Sequence[tuple[Tensor, Tensor]] = ()

    @property
    def kind(self) -> PartKind:
        """Return what parts must share to be stepped together."""
        (weight, momentum, _, compensation), gradient = self.values, self.gradient
        dtypes = weight.dtype, momentum.dtype, gradient.dtype
        extras = compensation is not None, self.cautious_scale is not None
        return PartKind(weight.device, *dtypes, self.block, *extras)

    def flattened(self) -> FlatParameter:
        """Return the part with flat tensors, also if it is a small one."""
        if self.gradient.dim() == 1 and not self.values.weight.requires_grad:
            return self
        values = [None if v is None else v.detach().view(-1) for v in self.values]
        gradient = self.gradient.detach().view(-1)
        return FlatParameter(Values(*values), gradient, self.key, self.block, self.cautious_scale)  # type: ignore[arg-type]

    def slices(self, size: int) -> Iterable[FlatParameter]:
        """Cut the part into consecutive parts of at most `size` elements, whole blocks each."""
        count = self.gradient.numel()
        if count <= size:
            return [self]
        size -= size % (self.block or 1)
        return [self.slice(first, min(first + size, count)) for first in range(0, count, size)]

    def slice(self, first: int, end: int) -> FlatParameter:
        """Return the elements from `first` to before `end` as a part; a block must begin there."""
        scale = self.values.scale
        if scale is not None:
            scale = scale[first // self.block : -(-end // self.block)]
        compensation = self.values.compensation
        values = Values(
            self.values.weight[first:end],
            self.values.momentum[first:end],
            scale,
            None if compensation is None else compensation[first:end],
        )
        return FlatParameter(
            values,
            self.gradient[first:end],
            moved(self.key, first),
            self.block,
            self.cautious_scale,
        )

    def write(self, new: Values) -> None:
        """Take over the results of a step."""
        for old, value in zip(self.values, new, strict=True):
            if old is not None and value is not None and not _is_the_same(old, value):
                old.copy_(value.view(old.shape))

    def write_back(self) -> None:
        """Copy what is no view to where it is kept."""
        for kept, copy in self.copies:
            kept.copy_(copy)


def _order(tensor: Tensor) -> list[int] | None:
    """Return the order of dimensions in memory, or None where that is the usual one."""
    if tensor.is_contiguous():
        return None
    return sorted(range(tensor.dim()), key=lambda number: -tensor.stride(number))


def _flat(tensor: Tensor, order: list[int] | None) -> Tensor:
    ordered = tensor if order is None else tensor.permute(order)
    return ordered.contiguous().view(-1)


def flatten(member: Member, key: Number) -> FlatParameter:
    """Build the part of a parameter.

    Args:
        member: The parameter; its gradient is never changed.
        key: Random key of the step.

    Returns:
        The part; call `write_back` when its step is done.
    """
    _, parameter, state, _ = member
    momentum, gradient = state["momentum"], parameter.grad
    assert gradient is not None
    traced = torch.compiler.is_compiling()  # which cannot ask for the layout of every kind
    if len(state) == 1 and not traced and is_simple(parameter, gradient, momentum):
        if parameter.numel() <= SMALL and parameter.shape == momentum.shape == gradient.shape:
            return FlatParameter(Values(parameter, momentum), gradient, key)
        values = Values(parameter.detach().view(-1), momentum.view(-1))
        return FlatParameter(values, gradient.view(-1), key)
    weight = real(local(parameter.detach()))
    scale = state.get("momentum_scale")
    # Blocks of 8-bit momentum count elements in the usual order, whatever the layout.
    order = _order(weight) if scale is None else None
    copies: list[tuple[Tensor, Tensor]] = []

    def flat(tensor: Tensor) -> Tensor:
        ordered = tensor if order is None else tensor.permute(order)
        result = _flat(tensor, order)
        if not ordered.is_contiguous():
            copies.append((ordered, result.view(ordered.shape)))
        return result

    compensation = state.get("compensation")
    values = Values(
        flat(weight),
        flat(real(local(state["momentum"]))),
        None if scale is None else flat(local(scale)),
        None if compensation is None else flat(local(compensation)),
    )
    whole = real(local(gradient, parameter))
    block = 0 if scale is None else block_size(parameter.shape)
    return FlatParameter(values, _flat(whole, order), key, block, copies=copies)


def check_member(member: Member) -> None:
    """Refuse a gradient or a state that does not fit a parameter.

    Raises:
        OptimizerError: As `check_fits`.
    """
    _, parameter, state, _ = member
    gradient, traced = parameter.grad, torch.compiler.is_compiling()
    assert gradient is not None
    if len(state) == 1 and not traced and is_simple(parameter, gradient, state["momentum"]):
        return  # as many elements in another shape, in the same order
    shape = tuple(parameter.shape)
    shapes = {"momentum": shape, "compensation": shape}
    if "momentum_scale" in state:
        shapes["momentum_scale"] = scale_shape(shape)
    check_fits(parameter, gradient, {n: (state[n], shapes[n]) for n in shapes if n in state})


def _is_the_same(old: Tensor, new: Tensor) -> bool:
    """Return whether a result was computed in the place where it is kept."""
    return not torch.compiler.is_compiling() and old.data_ptr() == new.data_ptr()


def by_kind(parts: Iterable[FlatParameter]) -> Iterable[list[FlatParameter]]:
    """Gather the parts that can be stepped together."""
    kinds: dict[Hashable, list[FlatParameter]] = {}
    for part in parts:
        kinds.setdefault(part.kind, []).append(part)
    return kinds.values()
