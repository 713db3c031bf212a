"""The foreach path: torch's operations on pieces that stay in the cache.

An elementwise operation on a large tensor is as slow as memory. On a CPU tensors are therefore cut,
or gathered, to pieces that stay in the cache, and all operations of the step run on one piece
before the next, in memory that is used again: fresh pages cost more than the arithmetic.

Where a gradient has non-finite elements, or an option needs more than the short form below
(cautious updates, tensors as learning rate, capturable), the same pieces run the maths of
`lion_update`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from optforge.optim.lion_settings import StepOptions
from optforge.optim.precision.eight_bits import decode, encode
from optforge.optim.precision.rounding import (
    Scratch,
    join,
    round_down_,
    split,
    stochastic_round,
    wide_dtype,
)
from optforge.optim.steps.flat import FlatParameter, Member, by_kind
from optforge.optim.steps.layout import Row
from optforge.optim.steps.loop import update_one
from optforge.optim.steps.packs import LISTS, WITHOUT_LIMIT, batched, gather, packed, unpack
from optforge.optim.steps.update import StepNumbers, Values

CACHE_ELEMENTS = 1 << 17  # for each thread: measured best; fewer operations, still near the core


def foreach_step(
    parts: Sequence[FlatParameter], numbers: StepNumbers, options: StepOptions
) -> None:
    """Step flat parameters, piece by piece.

    Args:
        parts: The parameters.
        numbers: Learning rate and the like.
        options: What is fixed.
    """
    for members in by_kind(parts):
        short = members[0].cautious_scale is None and are_short(numbers, options)
        if short and _is_plain(members[0]):
            rows = [(part.values.weight, part.gradient, part.values.momentum) for part in members]
            _step_rows(rows, numbers, options)
            continue
        scratch = Scratch()
        for batch in _batches(members):
            pieces = _gathered(batch) if short else batch
            for piece in pieces:
                _step_piece(piece, numbers, options, scratch if short else None)
            if pieces is not batch:
                unpack(pieces[0], batch)


def plain_foreach(
    members: Sequence[Member], numbers: StepNumbers, options: StepOptions, size: int = WITHOUT_LIMIT
) -> Sequence[Member]:
    """Step parameters on the CPU that are flat as they are, as almost all: lists of them will do.

    Args:
        members: All of one group.
        numbers: Learning rate and the like.
        options: What is fixed.
        size: Elements from which a parameter is left.

    Returns:
        The members that are left: large ones, and what is not plain.
    """
    if not are_short(numbers, options):
        return members
    rows: dict[torch.dtype, list[Any]] = {}
    rest: list[Member] = []
    for member in members:
        _, parameter, state, plain = member
        if plain and parameter.numel() < size:
            row = parameter, parameter.grad, state["momentum"]
            rows.setdefault(parameter.dtype, []).append(row)
        else:
            rest.append(member)
    for alike in rows.values():
        _step_rows(alike, numbers, options)
    return rest


def _step_rows(rows: Sequence[Row], numbers: StepNumbers, options: StepOptions) -> None:
    """Step rows of one dtype: large ones piece by piece, small ones in lists."""
    size, scratch, small = batch_size(rows[0][1].device, plain=True), Scratch(), []
    for row in rows:
        if row[0].numel() < size:
            small.append(row)
            continue
        weight, gradient, momentum = (tensor.detach().view(-1) for tensor in row)
        for piece in FlatParameter(Values(weight, momentum), gradient).slices(size):
            _step_piece(piece, numbers, options, scratch)
    for batch in batched(small, lambda row: row[0].numel(), size):
        weights, gradients, momenta = zip(*batch, strict=True)
        if _is_finite(gather(gradients)):
            _short_form(weights, gradients, momenta, numbers, options)
            continue
        for weight, gradient, momentum in batch:
            update_one(FlatParameter(Values(weight, momentum), gradient), numbers, options)


def _batches(members: Sequence[FlatParameter]) -> Iterator[list[FlatParameter]]:
    """Cut large members, and yield pieces that fit the cache together."""
    size = batch_size(members[0].gradient.device, plain=False)
    pieces = (piece for part in members for piece in part.slices(size))
    return batched(pieces, lambda piece: piece.gradient.numel(), size)


def _gathered(batch: list[FlatParameter]) -> list[FlatParameter]:
    """Return a batch as one piece, where that can be; operations on few elements are slow."""
    block, device = batch[0].block, batch[0].gradient.device
    whole = all(piece.gradient.numel() % (block or 1) == 0 for piece in batch)
    return [packed(batch)] if len(batch) > 1 and whole and device.type == "cpu" else batch


def batch_size(device: torch.device, plain: bool) -> int:
    """Return the number of elements of a batch on a device; what is not plain has more buffers."""
    if device.type == "cpu":
        return CACHE_ELEMENTS * max(1, torch.get_num_threads()) // (1 if plain else 2)
    return WITHOUT_LIMIT


def _is_plain(part: FlatParameter) -> bool:
    """Return whether lists will do: one wide dtype, no rounding."""
    dtypes = {part.values.weight.dtype, part.values.momentum.dtype, part.gradient.dtype}
    return dtypes in ({torch.float32}, {torch.float64})


def are_short(numbers: StepNumbers, options: StepOptions) -> bool:
    """Return whether the short form does all that the numbers and the options of a step ask for."""
    return (
        options.nonfinite != "propagate"  # its momenta may be infinite, which `lerp` makes NaN
        and not options.cautious_decay
        and not options.capturable
        and numbers.grad_scale is None
        and numbers.found_inf is None
        and not any(isinstance(number, Tensor) for number in numbers)
    )


def _step_piece(
    piece: FlatParameter, numbers: StepNumbers, options: StepOptions, scratch: Scratch | None
) -> None:
    """Step one piece: by the short form if it has some scratch memory and finite gradients."""
    if scratch is None:
        update_one(piece, numbers, _without_masks(piece, numbers, options))
        return
    dtype = wide_dtype(piece.values.weight.dtype)
    gradient = scratch.wide("gradient", piece.gradient.view(-1), dtype)
    if not _is_finite(gradient):
        update_one(piece, numbers, options)
        return
    weight, momentum = _opened(piece, dtype, scratch)
    update = scratch.of("update", gradient.numel(), gradient)
    step_flat((weight, gradient, momentum), update, numbers, options)
    piece.write(_closed(piece, weight, momentum, options, scratch))


def _opened(piece: FlatParameter, dtype: torch.dtype, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """Return weight and momentum in a wide dtype: as they are kept, or copies."""
    weight, momentum, scale, compensation = piece.values
    flat, average = weight.detach().view(-1), momentum.view(-1)
    if compensation is None:
        wide = scratch.wide("weight", flat, dtype)
    else:
        wide = join(flat, compensation.view(-1))
    if scale is None:
        return wide, scratch.wide("momentum", average, dtype)
    return wide, decode(average, scale, piece.block).to(dtype)


def _closed(
    piece: FlatParameter,
    weight: Tensor,
    momentum: Tensor,
    options: StepOptions,
    scratch: Scratch,
) -> Values:
    """Return the results of a step as they are kept; what is left to do is to copy them."""
    dtype, scale, compensation = piece.values.weight.dtype, piece.values.scale, None
    if piece.values.compensation is not None:
        weight, compensation = split(weight, dtype)
    elif options.rounding == "stochastic" and dtype == torch.bfloat16:
        round_down_(weight, piece.key, scratch)
    elif options.rounding == "stochastic" and dtype == torch.float16:
        weight = stochastic_round(weight, dtype, piece.key)
    if scale is not None:
        momentum, scale = encode(momentum, piece.block)
    return Values(weight, momentum, scale, compensation)


def step_flat(row: Row, buffer: Tensor, numbers: StepNumbers, options: StepOptions) -> None:
    """Run the operations of `_short_form` on one row, which lists of one would slow down."""
    weight, gradient, momentum = row
    if options.maximize:
        gradient = -gradient
    torch.add(gradient, momentum, alpha=numbers.ratio, out=buffer).sign_()  # type: ignore[call-overload]
    momentum.lerp_(gradient, numbers.intake)
    if numbers.decay:
        weight.add_(weight, alpha=-numbers.decay)  # type: ignore[arg-type]
    weight.add_(buffer, alpha=-numbers.lr)  # type: ignore[arg-type]


def _without_masks(piece: FlatParameter, numbers: StepNumbers, options: StepOptions) -> StepOptions:
    """Leave out the treatment of single elements where the host may ask and none needs it."""
    # Not for `propagate`: its momenta may be NaN where the gradient is finite.
    masked = options.nonfinite in ("ignore", "zero") and numbers.found_inf is None
    if masked and not options.capturable and surely_finite([piece.gradient]):
        return replace(options, nonfinite="skip_step")
    return options


def _is_finite(gradient: Tensor) -> bool:
    """Return whether the squares of wide elements, and so the elements, have a finite sum."""
    return math.isfinite(torch.dot(gradient, gradient).item())


def surely_finite(gradients: list[Tensor]) -> bool:
    """Return whether the norms are finite; if not, an element is not, or the squares overflow."""
    norms = LISTS._foreach_norm(gradients)
    total = norms[0] if len(norms) == 1 else torch.stack(norms).sum()
    return math.isfinite(float(total))


def _short_form(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    numbers: StepNumbers,
    options: StepOptions,
) -> None:
    """Run the step in five list operations; `g - m` cannot overflow, as g is not huge."""
    if options.maximize:
        gradients = LISTS._foreach_neg(gradients)
    updates = LISTS._foreach_add(gradients, momenta, alpha=numbers.ratio)
    LISTS._foreach_sign_(updates)
    LISTS._foreach_lerp_(momenta, gradients, numbers.intake)
    if numbers.decay:
        LISTS._foreach_add_(weights, weights, alpha=-numbers.decay)
    LISTS._foreach_add_(weights, updates, alpha=-numbers.lr)
