"""The fused path: the maths of `lion_update`, compiled by `torch.compile` to one kernel.

It is compiled once for a rule and its dtypes, on made-up parameters, so neither the model's shapes
nor the learning rate ever cause a compilation, and 400 tensors compile as fast as one.
"""

from __future__ import annotations

from collections.abc import Sequence

from optforge.optim.compiler import compiles, has_compiler
from optforge.optim.lion_settings import Rule
from optforge.optim.steps.flat import FlatParameter, by_kind
from optforge.optim.steps.foreach import foreach_step
from optforge.optim.steps.kernel import KernelKey, key_of_kernel
from optforge.optim.steps.kernel_calls import compiled, packed_step
from optforge.optim.steps.update import Numbers

FEW = 128  # elements: smaller parameters are left to foreach
FEW_ON_CPU = 1 << 13  # there the call of a kernel costs more than the step of fewer


def fused_step(leaves: Sequence[FlatParameter], numbers: Numbers, rule: Rule) -> None:
    """Step all leaves by compiled kernels.

    Args:
        leaves: The parameters.
        numbers: Learning rate and the like.
        rule: What is fixed.
    """
    if leaves and leaves[0].gradient.device.type == "cpu" and not has_compiler():
        foreach_step(leaves, numbers, rule)
        return
    for members in by_kind(leaves):
        form = key_of_kernel(members[0], numbers, rule)
        fitting, rest = [], []
        for leaf in members:
            (fitting if _fits(leaf, form) else rest).append(leaf)
        if fitting and compiles(compiled, form):
            packed_step(fitting, numbers, form)
        else:
            rest = members
        foreach_step(rest, numbers, rule)


def _fits(leaf: FlatParameter, form: KernelKey) -> bool:
    """Return whether kernels take a leaf: it is not small, and its blocks are full."""
    count = leaf.gradient.numel()
    if leaf.block and count % leaf.block:
        return False
    # Rounding and codes of 8 bits take many operations, which foreach does one by one.
    cheap = min(form.weight.itemsize, form.momentum.itemsize) >= 4
    few = FEW_ON_CPU if cheap and form.device.type == "cpu" else FEW
    return count >= few
