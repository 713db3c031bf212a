"""The paths of a step of Lion: one by one, in lists, by compiled kernels, or for autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from optforge.optim.compiler import has_compiler, kernels_of
from optforge.optim.precision.rounding import Scratch
from optforge.optim.steps.batches import BatchSizes, batches_of
from optforge.optim.steps.cautious import set_cautious_scales
from optforge.optim.steps.foreach import are_short, batch_size, is_plain, step_piece, step_rows
from optforge.optim.steps.kernel import LionKernel, kernel_step
from optforge.optim.steps.layout import real
from optforge.optim.steps.member import Member
from optforge.optim.steps.piece import Piece, by_kind
from optforge.optim.steps.update import Step, lion_update, update_one, values_of

FEW = 128  # elements: smaller parameters are left to foreach
FEW_ON_CPU = 1 << 13  # there the call of a kernel costs more than the step of fewer
SMALL = 1 << 14  # elements up to which a kernel takes longer to call than to run


def loop_step(pieces: Sequence[Piece], step: Step) -> None:
    """Step all pieces, one by one."""
    for piece in pieces:
        update_one(piece, step)


def foreach_step(pieces: Sequence[Piece], step: Step) -> None:
    """Step all pieces in batches that stay in the cache of a CPU."""
    for alike in by_kind(pieces):
        kind = alike[0].kind
        is_short = not kind.is_cautious and are_short(step)
        scratch = Scratch() if is_short else None
        if is_short and is_plain(kind):
            rows = [(p.weight, p.gradient, values_of(p).momentum) for p in alike]
            step_rows(rows, step)
            continue
        size = batch_size(kind.device, is_plain=False)
        copied = size if is_short and kind.device.type == "cpu" else 0
        sizes = BatchSizes(cut=size, listed=size, copied=copied)
        for batch in batches_of(alike, sizes, lambda _: False):
            for piece in batch.pieces:
                step_piece(piece, step, scratch)
            batch.finish()


def fused_step(pieces: Sequence[Piece], step: Step) -> None:
    """Step all pieces by compiled kernels; what they do not take runs as foreach."""
    if pieces and pieces[0].gradient.is_cpu and not has_compiler():
        foreach_step(pieces, step)
        return
    for alike in by_kind(pieces):
        form = LionKernel.of(alike[0], step)
        fitting = {id(piece) for piece in alike if _fits(piece, form)}
        if not (fitting and kernels_of(form)):
            foreach_step(alike, step)
            continue
        sizes = BatchSizes(packed=SMALL if _packs(form) else 0)
        for batch in batches_of(alike, sizes, lambda piece, fitting=fitting: id(piece) in fitting):
            if batch.is_compiled:
                kernel_step(batch.pieces, step.numbers, form)
            else:
                foreach_step(batch.pieces, step)
            batch.finish()


def _fits(piece: Piece, form: LionKernel) -> bool:
    """Return whether kernels take a piece: it is not small, and its blocks are full."""
    least = FEW_ON_CPU if _is_cheap(form) else FEW
    return piece.count >= least and piece.count % (piece.block or 1) == 0


def _packs(form: LionKernel) -> bool:
    """Return whether small pieces are copied into one."""
    on_cpu = form.kind.device.type == "cpu" and not _is_cheap(form)
    return on_cpu and not (form.is_keyed or form.kind.is_cautious)


def _is_cheap(form: LionKernel) -> bool:
    """Return whether foreach is as good as a kernel for small tensors.

    Rounding and codes of 8 bits take many operations, which foreach does one by one.
    """
    sizes = [dtype.itemsize for dtype in form.kind.values[:2] if dtype is not None]
    return min(sizes) >= 4 and form.kind.device.type == "cpu"


def differentiable_step(members: Sequence[Member], step: Step) -> None:
    """Step parameters in place with gradients recorded; the momentum is replaced, not changed.

    The sign has derivative 0, so weights depend on earlier weights, the learning rate and decay;
    momenta depend on the gradients.

    Args:
        members: Parameters with gradients; no leaves that require gradients.
        step: What the group shares.
    """
    step = step._replace(options=replace(step.options, rounding="nearest"))
    with torch.enable_grad():
        for member in members:
            parameter, state = member.parameter, member.state
            momentum = real(state["momentum"])
            piece = Piece((real(parameter.clone()), momentum, None, None), real(member.gradient))
            if step.options.cautious:
                set_cautious_scales([parameter], [piece], step)
            new = lion_update(piece, step)
            results = new.weight, new.momentum.to(momentum.dtype)
            if parameter.is_complex():
                results = tuple(map(torch.view_as_complex, results))
            parameter.copy_(results[0])
            state["momentum"] = results[1]
