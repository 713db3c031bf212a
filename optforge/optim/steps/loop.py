"""The plain loop: one parameter after the other, the maths as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from optforge.optim.lion_settings import Rule
from optforge.optim.steps.flat import FlatParameter
from optforge.optim.steps.update import Numbers, lion_update


def update_one(leaf: FlatParameter, numbers: Numbers, rule: Rule) -> None:
    """Run the maths on one leaf, or a slice of it, and write the results."""
    rule = replace(rule, block=leaf.block)
    new = lion_update(leaf.values, leaf.gradient, leaf.cautious_scale, leaf.key, numbers, rule)
    leaf.write(new)


def loop_step(leaves: Sequence[FlatParameter], numbers: Numbers, rule: Rule) -> None:
    """Step all leaves, one by one.

    Args:
        leaves: The parameters.
        numbers: Learning rate and the like.
        rule: What is fixed.
    """
    for leaf in leaves:
        update_one(leaf, numbers, rule)


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Tell, as a tensor of one bool, whether all elements of all tensors are finite."""
    device = tensors[0].device
    return torch.stack([tensor.isfinite().all().to(device) for tensor in tensors]).all()
