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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, TypeVar

import torch
from torch import Tensor

from optforge.optim.lion_settings import Rule
from optforge.optim.steps.flat import FlatParameter, by_kind, is_dense
from optforge.optim.steps.loop import update_one
from optforge.optim.steps.update import Numbers, Values

CACHE_ELEMENTS = 1 << 17  # for each thread: measured best; fewer operations, still near the core
WITHOUT_LIMIT = 1 << 62
T = TypeVar("T")
Row = tuple[Tensor, Tensor, Tensor]  # weight, gradient, momentum
LISTS: Any = torch  # its list operations are public by custom, not by type


def foreach_step(parts: Sequence[FlatParameter], numbers: Numbers, rule: Rule) -> None:
    """Step flat parameters, batch by batch.

    Args:
        parts: The parameters.
        numbers: Learning rate and the like.
        rule: What is fixed.
    """
    for members in by_kind(parts):
        device = members[0].gradient.device
        if has_short_form(members[0], numbers, rule):
            rows = [(part.values.weight, part.gradient, part.values.momentum) for part in members]
            _step_rows(rows, batch_size(device, True), numbers, rule)
            continue
        pieces = (piece for part in members for piece in part.slices(batch_size(device, False)))
        for batch in batched(pieces, lambda piece: piece.gradient, batch_size(device, False)):
            masked = _without_masks(batch, numbers, rule)
            for piece in batch:
                update_one(piece, numbers, masked)


def plain_foreach(
    parameters: Sequence[Tensor], states: Mapping[Any, dict[str, Any]], numbers: Numbers, rule: Rule
) -> bool:
    """Step parameters on the CPU that are flat as they are, as almost all: lists of them will do.

    Args:
        parameters: With gradients, all of one group.
        states: Their states.
        numbers: Learning rate and the like.
        rule: What is fixed.

    Returns:
        Whether it was done; if not, nothing was.
    """
    dtype = parameters[0].dtype
    if dtype not in (torch.float32, torch.float64) or not are_short(numbers, rule):
        return False
    rows = _plain_rows(parameters, states, dtype)
    if rows is not None:
        _step_rows(rows, batch_size(torch.device("cpu"), True), numbers, rule)
    return rows is not None


def _plain_rows(
    parameters: Sequence[Tensor], states: Mapping[Any, dict[str, Any]], dtype: torch.dtype
) -> list[Row] | None:
    """Return weight, gradient and momentum of each parameter; None if one is not plain."""
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


def _step_rows(rows: Sequence[Row], size: int, numbers: Numbers, rule: Rule) -> None:
    """Step rows by the short form: large ones slice by slice, small ones in batches."""
    small = []
    for row in rows:
        if row[0].numel() < size:
            small.append(row)
            continue
        weight, gradient, momentum = (tensor.detach().view(-1) for tensor in row)
        step_by_slices(FlatParameter(Values(weight, momentum), gradient), numbers, rule, size)
    for batch in batched(small, itemgetter(0), size):
        weights, gradients, momenta = zip(*batch, strict=True)
        if surely_finite(list(gradients)):
            _short_form(weights, gradients, momenta, numbers, rule)
            continue
        for weight, gradient, momentum in batch:
            update_one(FlatParameter(Values(weight, momentum), gradient), numbers, rule)


def batched(items: Iterable[T], tensor: Callable[[T], Tensor], size: int) -> Iterator[list[T]]:
    """Gather consecutive items, so that those of a batch have at most `size` elements."""
    batch: list[T] = []
    free = size
    for item in items:
        count = tensor(item).numel()
        if count > free and batch:
            yield batch
            batch, free = [], size
        batch.append(item)
        free -= count
    if batch:
        yield batch


def batch_size(device: torch.device, short: bool) -> int:
    """Return the number of elements of a batch on a device."""
    if device.type == "cpu":
        return CACHE_ELEMENTS * max(1, torch.get_num_threads()) // (1 if short else 2)
    return WITHOUT_LIMIT


def has_short_form(part: FlatParameter, numbers: Numbers, rule: Rule) -> bool:
    """Return whether a part can take the short form: one dtype, floats, plain options."""
    dtypes = {part.values.weight.dtype, part.values.momentum.dtype, part.gradient.dtype}
    return (
        (dtypes == {torch.float32} or dtypes == {torch.float64})
        and part.values.compensation is None
        and part.cautious_scale is None
        and are_short(numbers, rule)
    )


def are_short(numbers: Numbers, rule: Rule) -> bool:
    """Return whether the short form does all that the numbers and the options of a step ask for."""
    return (
        rule.nonfinite != "propagate"  # its momenta may be infinite, which `lerp` makes NaN
        and not rule.cautious_decay
        and not rule.capturable
        and numbers.grad_scale is None
        and numbers.found_inf is None
        and not any(isinstance(number, Tensor) for number in numbers)
    )


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
    if masked and not rule.capturable and surely_finite([part.gradient for part in batch]):
        return replace(rule, nonfinite="skip_step")
    return rule


def surely_finite(gradients: list[Tensor]) -> bool:
    """Return whether the norms are finite; if not, an element is not, or the squares overflow."""
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


def step_by_slices(part: FlatParameter, numbers: Numbers, rule: Rule, size: int) -> None:
    """Step a large part by the short form, slice by slice, with one buffer for all slices."""
    buffer = torch.empty(size, dtype=part.gradient.dtype, device=part.gradient.device)
    columns = (part.values.weight, part.gradient, part.values.momentum)
    slices = zip(*(column.split(size) for column in columns), strict=True)
    for number, (weight, gradient, momentum) in enumerate(slices):
        if math.isfinite(torch.dot(gradient, gradient).item()):
            step_flat(weight, gradient, momentum, buffer[: weight.numel()], numbers, rule)
            continue
        first = number * size
        update_one(part.slice(first, first + weight.numel()), numbers, rule)
