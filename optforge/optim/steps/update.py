"""The three lines of Lion with all options around them, element by element.

The plain loop runs this as it stands, the fused path compiles it, and the foreach path runs it
wherever its own shorter form does not apply. All functions here are pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.optim.lion_settings import StepOptions, stays_on_device
from optforge.optim.precision.eight_bits import decode, encode
from optforge.optim.precision.rounding import join, split, stochastic_round, wide_dtype
from optforge.optim.settings import Number, as_float
from optforge.optim.steps.piece import Piece


class StepNumbers(NamedTuple):
    """The numbers of a step, as floats or as tensors of one element.

    Args:
        lr: The learning rate.
        decay: The share of a weight that decay removes in this step.
        ratio: beta1 / (1 - beta1).
        memory: beta2, the share of the momentum that stays.
        intake: 1 - beta2, the share of the gradient that enters it.
        grad_scale: The factor of a gradient scaler that is still in the gradient, or None.
        found_inf: Not 0 where the step must do nothing, or None.
    """

    lr: Number
    decay: Number
    ratio: Number
    memory: Number
    intake: Number
    grad_scale: Tensor | None = None
    found_inf: Tensor | None = None


class Step(NamedTuple):
    """What the parameters of a group share in a step.

    Args:
        numbers: Learning rate and the like.
        options: What is fixed.
    """

    numbers: StepNumbers
    options: StepOptions


class Values(NamedTuple):
    """What a step reads and writes for one flat parameter or a slice of it.

    Args:
        weight: The weights, any floating dtype.
        momentum: float32, float64 or bfloat16; int8 codes with `scale`.
        scale: One bfloat16 number for each block of 8-bit momentum, or None.
        compensation: What 16-bit weights could not hold (int16), or None.
    """

    weight: Tensor
    momentum: Tensor
    scale: Tensor | None = None
    compensation: Tensor | None = None


def values_of(piece: Piece) -> Values:
    """Return what a piece holds by name."""
    return Values(*piece.values)  # type: ignore[arg-type]


def numbers_of(
    group: Mapping[str, Any], grad_scale: Tensor | None, found_inf: Tensor | None
) -> StepNumbers:
    """Return the numbers of a step: floats, or tensors where the host must not ask."""
    lr, (beta1, beta2) = group["lr"], group["betas"]
    on_device = stays_on_device(group) or group["differentiable"]
    plain = _as_given if on_device else as_float  # schedules may have written anything
    lr, beta1, beta2, decay = map(plain, (lr, beta1, beta2, group["weight_decay"]))
    decay = lr * decay
    if group["decay_mode"] == "independent":
        decay = decay / plain(group["reference_lr"])
    return StepNumbers(lr, decay, beta1 / (1 - beta1), beta2, 1 - beta2, grad_scale, found_inf)


def _as_given(value: Any) -> Number:
    """Return a tensor of one element as a 0-d one, at least float32; other numbers as a float."""
    if not isinstance(value, Tensor):
        return float(value)
    return value.reshape(()).to(torch.promote_types(value.dtype, torch.float32))


def ascent(gradient: Tensor, dtype: torch.dtype, step: Step) -> Tensor:
    """Return the gradient of what is minimised, in the dtype of the computation, unscaled."""
    gradient = gradient.to(dtype)
    if step.numbers.grad_scale is not None:
        gradient = gradient / step.numbers.grad_scale.to(dtype)
    return -gradient if step.options.maximize else gradient


def direction(gradient: Tensor, momentum: Tensor, numbers: StepNumbers) -> Tensor:
    """Return a positive multiple of c = beta1 m + (1 - beta1) g, that is ratio m + g.

    Only its sign counts. For finite numbers the sum may overflow, but never with the wrong sign.
    """
    return momentum * numbers.ratio + gradient


def agreement(gradient: Tensor, momentum: Tensor, numbers: StepNumbers) -> Tensor:
    """Return where the update has the gradient's sign (the mask of cautious optimizers)."""
    return direction(gradient, momentum, numbers).sign() * gradient.sign() > 0


def _step(
    weight: Tensor, gradient: Tensor, momentum: Tensor, cautious_scale: Tensor | None, step: Step
) -> tuple[Tensor, Tensor]:
    """Compute the next weight and momentum, all in one dtype."""
    numbers, options = step
    masked = options.nonfinite in ("ignore", "zero")
    finite = gradient.abs() < math.inf if masked else None  # fewer operations than isfinite
    if finite is not None:  # zero in either case: under `ignore` the element is put back below
        gradient = torch.where(finite, gradient, 0.0)

    def sign_of(values: Tensor) -> Tensor:
        update = torch.sign(values)
        if options.nonfinite == "propagate":  # NaN is to be seen
            update = torch.where(values.isnan(), values, update)
        if cautious_scale is None:
            return update
        return torch.where(update * gradient.sign() <= 0, 0.0, update * cautious_scale)

    def decayed(weight: Tensor, update: Tensor) -> Tensor:
        shorter = weight - weight * numbers.decay
        if not options.cautious_decay:
            return shorter
        return torch.where(update * weight.sign() >= 0, shorter, weight)

    new_weight, new_momentum = options.formula(
        weight, gradient, momentum, numbers, sign_of, decayed
    )
    if finite is not None and options.nonfinite == "ignore":
        new_weight = torch.where(finite, new_weight, weight)
        new_momentum = torch.where(finite, new_momentum, momentum)
    return new_weight, new_momentum


def lion_update(piece: Piece, step: Step) -> Values:
    """Compute one step of Lion on a piece of a parameter.

    Maths, with the old momentum m in the sign:

        c = beta1 m + (1 - beta1) g
        w <- w - decay w - lr sign(c)
        m <- beta2 m + (1 - beta2) g

    Args:
        piece: Weight, states and gradient; flat where momentum is in 8 bits.
        step: What the group shares.

    Returns:
        The next values; the arguments are not changed.

    Source: "Symbolic Discovery of Optimization Algorithms", program 1.
    """
    old = values_of(piece)
    dtype = wide_dtype(old.weight.dtype)
    weight, momentum = opened(piece, dtype)
    gradient = ascent(piece.gradient, dtype, step)
    weight, momentum = _step(weight, gradient, momentum, piece.cautious_scale, step)
    new = closed(piece, weight, momentum, step.options.rounding)
    return _keep_if_found(old, new, step.numbers)


def opened(piece: Piece, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return weight and momentum in the dtype of the computation."""
    weight, momentum, scale, compensation = values_of(piece)
    if scale is not None:
        momentum = decode(momentum, scale, piece.block)
    wide = weight.to(dtype) if compensation is None else join(weight, compensation)
    return wide, momentum.to(dtype)


def closed(piece: Piece, weight: Tensor, momentum: Tensor, rounding: str) -> Values:
    """Return the results of a step as they are kept; to copy them may still round to nearest."""
    old = values_of(piece)
    scale, compensation = None, None
    if old.compensation is not None:
        weight, compensation = split(weight, old.weight.dtype)
    elif rounding == "stochastic" and old.weight.dtype.itemsize == 2:
        weight = stochastic_round(weight, old.weight.dtype, piece.key)
    if old.scale is not None:
        momentum, scale = encode(momentum, piece.block)
    return Values(weight, momentum, scale, compensation)


def _keep_if_found(old: Values, new: Values, numbers: StepNumbers) -> Values:
    """Return the old values where the gradient scaler, or a policy, found non-finite gradients."""
    if numbers.found_inf is None:
        return new
    is_skipped = numbers.found_inf != 0
    pairs = [
        None if after is None or before is None else torch.where(is_skipped, before, after)
        for before, after in zip(old, new, strict=True)
    ]
    return Values(*pairs)  # type: ignore[arg-type]


def update_one(piece: Piece, step: Step) -> None:
    """Step one piece, the maths as it stands."""
    piece = piece.flattened() if piece.block else piece
    piece.write(lion_update(piece, step))
