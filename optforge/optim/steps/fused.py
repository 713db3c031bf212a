"""The fused path: the maths of `lion_update`, compiled by `torch.compile` to one kernel.

It is compiled once for a set of options and dtypes, on a made-up part, so neither the model's
shapes nor the learning rate ever cause a compilation, and 400 tensors compile as fast as one.
"""

from __future__ import annotations

from collections.abc import Sequence

from optforge.optim.compiler import compiles, has_compiler
from optforge.optim.lion_settings import StepOptions
from optforge.optim.steps.flat import SMALL, FlatParameter, by_kind
from optforge.optim.steps.foreach import foreach_step
from optforge.optim.steps.kernel import KernelKind, compiled, kernel_kind, kernel_step
from optforge.optim.steps.packs import batched, packed, unpack
from optforge.optim.steps.update import StepNumbers

FEW = 128  # elements: smaller parameters are left to foreach
FEW_ON_CPU = 1 << 13  # there the call of a kernel costs more than the step of fewer
PACK = 1 << 18  # elements of the parts that are copied into one


def fused_step(parts: Sequence[FlatParameter], numbers: StepNumbers, options: StepOptions) -> None:
    """Step all parts by compiled kernels.

    Args:
        parts: The parameters.
        numbers: Learning rate and the like.
        options: What is fixed.
    """
    if parts and parts[0].gradient.device.type == "cpu" and not has_compiler():
        foreach_step(parts, numbers, options)
        return
    for members in by_kind(parts):
        kind = kernel_kind(members[0], numbers, options)
        fitting = [part for part in members if _fits(part, kind)]
        if not (fitting and compiles(compiled, kind)):
            foreach_step(members, numbers, options)
            continue
        small = [part for part in fitting if _is_packed(part, kind)]
        for batch in batched(small, lambda part: part.gradient.numel(), PACK):
            pack = packed(batch)
            kernel_step([pack], numbers, kind)
            unpack(pack, batch)
        kernel_step([part for part in fitting if not _is_packed(part, kind)], numbers, kind)
        if rest := [part for part in members if not _fits(part, kind)]:
            foreach_step(rest, numbers, options)


def _fits(part: FlatParameter, kind: KernelKind) -> bool:
    """Return whether kernels take a part: it is not small, and its blocks are full."""
    count = part.gradient.numel()
    if part.block and count % part.block:
        return False
    return count >= (FEW_ON_CPU if _is_cheap(kind) else FEW)


def _is_packed(part: FlatParameter, kind: KernelKind) -> bool:
    """Return whether a part is copied into a pack: its kernel takes longer to call than to run."""
    on_cpu = kind.part.device.type == "cpu" and not _is_cheap(kind)
    return on_cpu and not (kind.keyed or kind.part.cautious) and part.gradient.numel() <= SMALL


def _is_cheap(kind: KernelKind) -> bool:
    """Return whether foreach is as good as a kernel for small tensors.

    Rounding and codes of 8 bits take many operations, which foreach does one by one.
    """
    wide = min(kind.part.weight.itemsize, kind.part.momentum.itemsize) >= 4
    return wide and kind.part.device.type == "cpu"
