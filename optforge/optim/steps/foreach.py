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
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from optforge.optim.precision.rounding import Scratch, round_down_, wide_dtype
from optforge.optim.steps.batches import WITHOUT_LIMIT, batched
from optforge.optim.steps.cautious import scales_of, set_cautious_scales
from optforge.optim.steps.layout import Row
from optforge.optim.steps.member import Member
from optforge.optim.steps.piece import LISTS, Piece, PieceKind, gather
from optforge.optim.steps.update import Step, closed, opened, update_one, values_of

CACHE_ELEMENTS = 1 << 17  # for each thread: measured best; fewer operations, still near the core


def plain_foreach(
    members: Sequence[Member], step: Step, size: int = WITHOUT_LIMIT
) -> Sequence[Member]:
    """Step parameters on the CPU that are flat as they are, as almost all: lists of them will do.

    Args:
        members: All of one group.
        step: What the group shares.
        size: Elements from which a parameter is left.

    Returns:
        The members that are left: large ones, and what is not plain.
    """
    if not _are_listed(step):
        return members
    step_all = careful_rows if _is_careful(step) else step_rows
    rows: dict[torch.dtype, list[Any]] = {}
    rest: list[Member] = []
    for member in members:
        _, parameter, state, _, is_plain = member
        if is_plain and parameter.numel() < size:
            row = parameter, parameter.grad, state["momentum"]
            rows.setdefault(parameter.dtype, []).append(row)
        else:
            rest.append(member)
    for alike in rows.values():
        step_all(alike, step)
    return rest


def step_rows(rows: Sequence[Row], step: Step) -> None:
    """Step rows of one dtype: large ones piece by piece, small ones in lists."""
    size, scratch, small = batch_size(rows[0][1].device, is_plain=True), Scratch(), []
    for row in rows:
        if row[0].numel() < size:
            small.append(row)
            continue
        for piece in _piece_of(row).flattened().cut(size):
            step_piece(piece, step, scratch)
    # Lists run on one thread, so one thread's share of the cache is the best batch on a CPU.
    listed = min(size, CACHE_ELEMENTS) if size < WITHOUT_LIMIT else size
    for batch in batched(small, listed, lambda row: row[0].numel()):
        weights, gradients, momenta = zip(*batch, strict=True)
        if _is_finite(gather(gradients)):
            _step_lists(weights, gradients, momenta, step)
            continue
        for row in batch:
            update_one(_piece_of(row), step)


def careful_rows(rows: Sequence[Row], step: Step) -> None:
    """Step rows of one dtype where updates, or their decay, are cautious, in lists."""
    if not step.options.cautious:  # nothing is counted over a whole parameter
        rows = [row for whole in rows for row in _cut(whole)]
    for batch in batched(rows, CACHE_ELEMENTS, lambda row: row[0].numel()):
        weights, gradients, momenta = zip(*batch, strict=True)
        if _is_finite(gather(gradients)):
            _step_lists(weights, gradients, momenta, step)
            continue
        for row in batch:
            piece = _piece_of(row)
            if step.options.cautious:
                set_cautious_scales([row[0]], [piece], step)
            update_one(piece, step)


def _cut(row: Row) -> Sequence[Row]:
    if row[0].numel() <= CACHE_ELEMENTS:
        return [row]
    pieces = _piece_of(row).flattened().cut(CACHE_ELEMENTS)
    return [(piece.weight, piece.gradient, values_of(piece).momentum) for piece in pieces]


def _piece_of(row: Row) -> Piece:
    weight, gradient, momentum = row
    return Piece((weight, momentum, None, None), gradient)


def batch_size(device: torch.device, is_plain: bool) -> int:
    """Return the number of elements of a batch on a device; what is not plain has more buffers."""
    if device.type == "cpu":
        return CACHE_ELEMENTS * max(1, torch.get_num_threads()) // (1 if is_plain else 2)
    return WITHOUT_LIMIT


def is_plain(kind: PieceKind) -> bool:
    """Return whether lists will do: one wide dtype, no rounding."""
    dtypes = {kind.gradient, *kind.values[:2]}
    return dtypes in ({torch.float32}, {torch.float64})


def are_short(step: Step) -> bool:
    """Return whether the short form does all that the numbers and the options of a step ask for."""
    return _are_listed(step) and not step.options.cautious_decay


def _is_careful(step: Step) -> bool:
    return step.options.cautious or step.options.cautious_decay


def _are_listed(step: Step) -> bool:
    """Return whether lists do all that is asked for."""
    numbers, options = step
    return (
        options.nonfinite != "propagate"  # its momenta may be infinite, which `lerp` makes NaN
        and not options.capturable
        and numbers.grad_scale is None
        and numbers.found_inf is None
        and not any(isinstance(number, Tensor) for number in numbers)
    )


def step_piece(piece: Piece, step: Step, scratch: Scratch | None) -> None:
    """Step one piece: by the short form if it has some scratch memory and finite gradients."""
    if scratch is None:
        update_one(piece, step)
        return
    piece, dtype = piece.flattened(), wide_dtype(piece.weight.dtype)
    gradient = scratch.wide("gradient", piece.gradient, dtype)
    if not _is_finite(gradient):
        update_one(piece, step)
        return
    weight, momentum = _opened(piece, dtype, scratch)
    update = scratch.of("update", gradient.numel(), gradient)
    step_flat((weight, gradient, momentum), update, step)
    rounding = step.options.rounding
    if rounding == "stochastic" and piece.weight.dtype == torch.bfloat16:
        round_down_(weight, piece.key, scratch)
        rounding = "nearest"  # exact now
    piece.write(closed(piece, weight, momentum, rounding))


def _opened(piece: Piece, dtype: torch.dtype, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """Return weight and momentum in a wide dtype: as they are kept, or copies in scratch memory."""
    weight, momentum, scale, compensation = values_of(piece)
    if scale is not None or compensation is not None:
        return opened(piece, dtype)
    return scratch.wide("weight", weight, dtype), scratch.wide("momentum", momentum, dtype)


def step_flat(row: Row, buffer: Tensor, step: Step) -> None:
    """Run the operations of `_step_lists` on one row, which lists of one would slow down."""
    (weight, gradient, momentum), (numbers, options) = row, step
    if options.maximize:
        gradient = -gradient
    torch.add(gradient, momentum, alpha=numbers.ratio, out=buffer).sign_()  # type: ignore[call-overload]
    momentum.lerp_(gradient, numbers.intake)
    if numbers.decay:
        weight.add_(weight, alpha=-numbers.decay)  # type: ignore[arg-type]
    weight.add_(buffer, alpha=-numbers.lr)  # type: ignore[arg-type]


def _is_finite(gradient: Tensor) -> bool:
    """Return whether the squares of wide elements, and so the elements, have a finite sum."""
    return math.isfinite(torch.dot(gradient, gradient).item())


def _step_lists(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], momenta: Sequence[Tensor], step: Step
) -> None:
    """Run a step in list operations: five, and more for masks where it is cautious.

    `g - m` cannot overflow, as g is not huge.
    """
    numbers, options = step
    if options.maximize:
        gradients = LISTS._foreach_neg(gradients)
    updates = LISTS._foreach_add(gradients, momenta, alpha=numbers.ratio)
    LISTS._foreach_sign_(updates)
    LISTS._foreach_lerp_(momenta, gradients, numbers.intake)
    if options.cautious:
        agreeing = LISTS._foreach_mul(LISTS._foreach_sign(gradients), updates)
        LISTS._foreach_clamp_min_(agreeing, 0)
        counts = torch.stack(LISTS._foreach_norm(agreeing, 1)).to(torch.float32)
        scales = scales_of(counts / counts.new_tensor([w.numel() for w in weights]))
        LISTS._foreach_mul_(updates, agreeing)
        LISTS._foreach_mul_(updates, list(scales.to(updates[0].dtype).unbind()))
    decayed = weights
    if options.cautious_decay and numbers.decay:  # not where the update is against the weight
        decayed = LISTS._foreach_mul(LISTS._foreach_sign(weights), LISTS._foreach_sign(updates))
        LISTS._foreach_add_(decayed, 1)
        LISTS._foreach_clamp_max_(decayed, 1)
        LISTS._foreach_mul_(decayed, weights)
    if numbers.decay:
        LISTS._foreach_add_(weights, decayed, alpha=-numbers.decay)
    LISTS._foreach_add_(weights, updates, alpha=-numbers.lr)
