"""The foreach path: torch's list operations on batches that stay in the cache.

An elementwise operation on a large tensor is as slow as memory. On a CPU the tensors are therefore
cut, or gathered, to batches that fit the second-level cache, and all operations of the step run on
one batch before the next. On other devices a batch is everything of one dtype.

Where a gradient has non-finite elements, or an option needs more than the short form below
(8 bits, 16-bit weights, cautious updates, tensors as learning rate), slices of the same size run
the maths of `lion_update`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from optforge.optim.leaves import Leaf
from optforge.optim.options import Rule
from optforge.optim.step_loop import update_leaf
from optforge.optim.update import Numbers

CACHE_ELEMENTS = 1 << 15  # for each thread; four float32 arrays of it are half of 1 MiB
WITHOUT_LIMIT = 1 << 62
LISTS: Any = torch  # its list operations are public by custom, not by type


def foreach_step(leaves: Sequence[Leaf], numbers: Numbers, rule: Rule) -> None:
    """Step all leaves, batch by batch.

    Args:
        leaves: The parameters.
        numbers: Learning rate and the like.
        rule: What is fixed.
    """
    by_kind: dict[tuple[torch.device, torch.dtype, bool], list[Leaf]] = {}
    for leaf in leaves:
        short = has_short_form(leaf, numbers, rule)
        kind = (leaf.gradient.device, leaf.gradient.dtype, short)
        by_kind.setdefault(kind, []).append(leaf)
    for (device, _, short), members in by_kind.items():
        for batch in batches(members, batch_size(device, short)):
            step_batch(batch, numbers, rule, short)


def batch_size(device: torch.device, short: bool) -> int:
    """Give the number of elements of a batch on a device."""
    if device.type == "cpu":
        return CACHE_ELEMENTS * max(1, torch.get_num_threads()) // (1 if short else 2)
    return WITHOUT_LIMIT


def has_short_form(leaf: Leaf, numbers: Numbers, rule: Rule) -> bool:
    """Tell whether a leaf can take the short form: one dtype, numbers as floats, plain options."""
    dtypes = {leaf.values.weight.dtype, leaf.values.momentum.dtype, leaf.gradient.dtype}
    return (
        dtypes in ({torch.float32}, {torch.float64})
        and leaf.values.compensation is None
        and leaf.cautious_scale is None
        and not rule.cautious_decay
        and numbers.grad_scale is None
        and numbers.found_inf is None
        and not any(isinstance(number, Tensor) for number in numbers)
    )


def batches(leaves: Sequence[Leaf], size: int) -> Iterator[list[Leaf]]:
    """Cut large leaves and gather small ones, so that a batch has at most `size` elements."""
    batch: list[Leaf] = []
    free = size
    for leaf in leaves:
        for part in leaf.slices(size):
            count = part.gradient.numel()
            if count > free and batch:
                yield batch
                batch, free = [], size
            batch.append(part)
            free -= count
    if batch:
        yield batch


def step_batch(batch: Sequence[Leaf], numbers: Numbers, rule: Rule, short: bool) -> None:
    """Step one batch, by the short form if it may and every gradient element is finite."""
    if rule.nonfinite in ("ignore", "zero", "propagate") and numbers.found_inf is None:
        if surely_finite([leaf.gradient for leaf in batch]):
            rule = replace(rule, nonfinite="skip_step")  # no masks are needed
        else:
            short = False
    if short:
        _short_form(batch, numbers, rule)
        return
    for leaf in batch:
        update_leaf(leaf, numbers, rule)


def surely_finite(gradients: list[Tensor]) -> bool:
    """Tell whether the norms are finite; if not, an element is not, or the squares overflow."""
    norms = LISTS._foreach_norm(gradients)
    if len(norms) == 1:
        return bool(norms[0].isfinite())
    return bool(torch.stack(list(norms)).isfinite().all())


def _short_form(batch: Sequence[Leaf], numbers: Numbers, rule: Rule) -> None:
    """Run the step in six list operations; any finite gradient and momentum."""
    weights = [leaf.values.weight for leaf in batch]
    momenta = [leaf.values.momentum for leaf in batch]
    gradients: list[Tensor] | tuple[Tensor, ...] = [leaf.gradient for leaf in batch]
    if rule.maximize:
        gradients = LISTS._foreach_neg(gradients)
    updates = LISTS._foreach_add(gradients, momenta, alpha=numbers.ratio)
    LISTS._foreach_sign_(updates)
    LISTS._foreach_mul_(momenta, numbers.memory)
    LISTS._foreach_add_(momenta, gradients, alpha=numbers.intake)
    if numbers.decay:
        LISTS._foreach_add_(weights, weights, alpha=-numbers.decay)
    LISTS._foreach_add_(weights, updates, alpha=-numbers.lr)
