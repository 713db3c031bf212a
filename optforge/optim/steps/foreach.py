"""The foreach path: torch's list operations on batches that stay in the cache.

An elementwise operation on a large tensor is as slow as memory. On a CPU the tensors are therefore
cut, or gathered, to batches that stay in the cache, and all operations of the step run on
one batch before the next. On other devices a batch is everything of one dtype.

Where a gradient has non-finite elements, or an option needs more than the short form below
(8 bits, 16-bit weights, cautious updates, tensors as learning rate, capturable), slices of
the same size run the maths of `lion_update`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from optforge.optim.lion_settings import Rule
from optforge.optim.settings import Number
from optforge.optim.steps.flat import FlatParameter, by_kind, is_dense
from optforge.optim.steps.loop import update_one
from optforge.optim.steps.update import Numbers, Values

CACHE_ELEMENTS = 1 << 17  # for each thread: measured best; fewer operations, still near the core
WITHOUT_LIMIT = 1 << 62
Row = tuple[Tensor, Tensor, Tensor]  # weight, gradient, momentum
LISTS: Any = torch  # its list operations are public by custom, not by type


def foreach_step(leaves: Sequence[FlatParameter], numbers: Numbers, rule: Rule) -> None:
    """Step all leaves, batch by batch.

    Args:
        leaves: The parameters.
        numbers: Learning rate and the like.
        rule: What is fixed.
    """
    for members in by_kind(leaves):
        device = members[0].gradient.device
        short = has_short_form(members[0], numbers, rule)
        size = batch_size(device, short)
        if short and device.type == "cpu":
            for leaf in members:
                if leaf.gradient.numel() >= size:
                    step_by_slices(leaf, numbers, rule, size)
            members = [leaf for leaf in members if leaf.gradient.numel() < size]
        for batch in batches(members, size):
            step_batch(batch, numbers, rule, short)


def plain_foreach(
    parameters: Sequence[Tensor],
    states: Mapping[Any, dict[str, Any]],
    keys: Sequence[Number],
    numbers: Numbers,
    rule: Rule,
) -> bool:
    """Step parameters on the CPU that need no leaves, as almost all are: lists of them will do.

    Args:
        parameters: With gradients, all of one group.
        states: Their states.
        keys: Not needed; the rounding of 16-bit weights takes leaves.
        numbers: Learning rate and the like.
        rule: What is fixed.

    Returns:
        Whether it was done; if not, nothing was.
    """
    del keys
    dtype = parameters[0].dtype
    if dtype not in (torch.float32, torch.float64) or not are_short(numbers, rule):
        return False
    rows = _plain_rows(parameters, states, dtype)
    if rows is None:
        return False
    size = batch_size(torch.device("cpu"), True)
    batch: list[Row] = []
    free = size
    for row in rows:
        count = row[0].numel()
        if count >= size:
            weight, gradient, momentum = (tensor.detach().view(-1) for tensor in row)
            step_by_slices(FlatParameter(Values(weight, momentum), gradient), numbers, rule, size)
            continue
        if count > free and batch:
            _step_rows(batch, numbers, rule)
            batch, free = [], size
        batch.append(row)
        free -= count
    if batch:
        _step_rows(batch, numbers, rule)
    return True


def _plain_rows(
    parameters: Sequence[Tensor], states: Mapping[Any, dict[str, Any]], dtype: torch.dtype
) -> list[Row] | None:
    """Give weight, gradient and momentum of each parameter; None if one is not plain."""
    rows: list[Row] = []
    for parameter in parameters:
        state, gradient = states[parameter], parameter.grad
        momentum = state["momentum"]
        assert gradient is not None
        if not (
            len(state) == 1
            and parameter.dtype is dtype
            and gradient.dtype is dtype
            and momentum.dtype is dtype
            and parameter.is_cpu
            and gradient.is_cpu
            and momentum.is_cpu
            and parameter.shape == gradient.shape == momentum.shape  # lists would broadcast
            and is_dense(parameter, gradient, momentum)
        ):
            return None
        rows.append((parameter, gradient, momentum))
    return rows


def _step_rows(batch: Sequence[Row], numbers: Numbers, rule: Rule) -> None:
    """Step one batch of plain parameters, as `step_batch` does."""
    weights, gradients, momenta = zip(*batch, strict=True)
    if surely_finite(list(gradients)):
        _short_form(weights, gradients, momenta, numbers, rule)
        return
    for weight, gradient, momentum in batch:
        update_one(FlatParameter(Values(weight, momentum), gradient), numbers, rule)


def batch_size(device: torch.device, short: bool) -> int:
    """Give the number of elements of a batch on a device."""
    if device.type == "cpu":
        return CACHE_ELEMENTS * max(1, torch.get_num_threads()) // (1 if short else 2)
    return WITHOUT_LIMIT


def has_short_form(leaf: FlatParameter, numbers: Numbers, rule: Rule) -> bool:
    """Tell whether a leaf can take the short form: one dtype, numbers as floats, plain options."""
    dtypes = {leaf.values.weight.dtype, leaf.values.momentum.dtype, leaf.gradient.dtype}
    return (
        (dtypes == {torch.float32} or dtypes == {torch.float64})
        and leaf.values.compensation is None
        and leaf.cautious_scale is None
        and are_short(numbers, rule)
    )


def are_short(numbers: Numbers, rule: Rule) -> bool:
    """Tell whether the short form does all that the numbers and the options of a step ask for."""
    return (
        rule.nonfinite != "propagate"  # its momenta may be infinite, which `lerp` makes NaN
        and not rule.cautious_decay
        and not rule.capturable
        and numbers.grad_scale is None
        and numbers.found_inf is None
        and not any(isinstance(number, Tensor) for number in numbers)
    )


def batches(leaves: Sequence[FlatParameter], size: int) -> Iterator[list[FlatParameter]]:
    """Cut large leaves and gather small ones, so that a batch has at most `size` elements."""
    batch: list[FlatParameter] = []
    free = size
    for leaf in leaves:
        for part in leaf.slices(size) if leaf.gradient.numel() > size else (leaf,):
            count = part.gradient.numel()
            if count > free and batch:
                yield batch
                batch, free = [], size
            batch.append(part)
            free -= count
    if batch:
        yield batch


def step_batch(batch: Sequence[FlatParameter], numbers: Numbers, rule: Rule, short: bool) -> None:
    """Step one batch, by the short form if it may and the gradients are finite and not huge."""
    if short and surely_finite([leaf.gradient for leaf in batch]):
        _short_form(
            [leaf.values.weight for leaf in batch],
            [leaf.gradient for leaf in batch],
            [leaf.values.momentum for leaf in batch],
            numbers,
            rule,
        )
        return
    rule = _without_masks(batch, numbers, rule)
    for leaf in batch:
        update_one(leaf, numbers, rule)


def step_flat(
    weight: Tensor,
    gradient: Tensor,
    momentum: Tensor,
    buffer: Tensor,
    numbers: Numbers,
    rule: Rule,
) -> None:
    """Run the operations of `_short_form` on one tensor, which lists of one would slow down."""
    ratio, intake, decay, lr = numbers.ratio, numbers.intake, numbers.decay, numbers.lr
    if rule.maximize:
        gradient = -gradient
    update = torch.add(gradient, momentum, alpha=ratio, out=buffer).sign_()  # type: ignore[call-overload]
    momentum.lerp_(gradient, intake)
    if decay:
        weight.add_(weight, alpha=-decay)  # type: ignore[arg-type]
    weight.add_(update, alpha=-lr)  # type: ignore[arg-type]


def _without_masks(batch: Sequence[FlatParameter], numbers: Numbers, rule: Rule) -> Rule:
    """Leave out the treatment of single elements where the host may ask and none needs it."""
    # Not for `propagate`: its momenta may be NaN where the gradient is finite.
    masked = rule.nonfinite in ("ignore", "zero") and numbers.found_inf is None
    if masked and not rule.capturable and surely_finite([leaf.gradient for leaf in batch]):
        return replace(rule, nonfinite="skip_step")
    return rule


def surely_finite(gradients: list[Tensor]) -> bool:
    """Tell whether the norms are finite; if not, an element is not, or the squares overflow."""
    norms = LISTS._foreach_norm(gradients)
    total = norms[0] if len(norms) == 1 else torch.stack(norms).sum()
    return math.isfinite(float(total))


def _short_form(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    momenta: Sequence[Tensor],
    numbers: Numbers,
    rule: Rule,
) -> None:
    """Run the step in five list operations; `g - m` cannot overflow, as g is not huge."""
    if rule.maximize:
        gradients = LISTS._foreach_neg(gradients)
    updates = LISTS._foreach_add(gradients, momenta, alpha=numbers.ratio)
    LISTS._foreach_sign_(updates)
    LISTS._foreach_lerp_(momenta, gradients, numbers.intake)
    if numbers.decay:
        LISTS._foreach_add_(weights, weights, alpha=-numbers.decay)
    LISTS._foreach_add_(weights, updates, alpha=-numbers.lr)


def step_by_slices(leaf: FlatParameter, numbers: Numbers, rule: Rule, size: int) -> None:
    """Step a large leaf by the short form, slice by slice, with one buffer for all slices."""
    buffer = torch.empty(size, dtype=leaf.gradient.dtype, device=leaf.gradient.device)
    columns = (leaf.values.weight, leaf.gradient, leaf.values.momentum)
    slices = zip(*(column.split(size) for column in columns), strict=True)
    for number, (weight, gradient, momentum) in enumerate(slices):
        if math.isfinite(torch.dot(gradient, gradient).item()):
            step_flat(weight, gradient, momentum, buffer[: weight.numel()], numbers, rule)
            continue
        first = number * size
        update_one(leaf.slice(first, first + weight.numel()), numbers, rule)
