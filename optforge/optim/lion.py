"""Lion, as a citizen of `torch.optim`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from optforge.optim.lion_settings import KEYS, checked_settings
from optforge.optim.lion_steps import LionSteps
from optforge.optim.steps.update import StepNumbers


def lion(
    weight: Tensor,
    gradient: Tensor,
    momentum: Tensor,
    numbers: StepNumbers,
    sign: Callable[[Tensor], Tensor],
    decayed: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Compute one step of Lion; all else in this package runs these three lines fast and exactly.

    Args:
        weight: Any shape.
        gradient: Of what is minimized.
        momentum: Before the step.
        numbers: ``ratio`` is beta1 / (1 - beta1), as only the sign of the sum counts.
        sign: -1, 0 or 1 of each element; cautious updates drop and scale some.
        decayed: The weight without what weight decay removes.

    Returns:
        The next weight and momentum.

    Source: "Symbolic Discovery of Optimization Algorithms", program 1, arXiv 2302.06675.
    """
    update = sign(momentum * numbers.ratio + gradient)
    weight = decayed(weight, update) - update * numbers.lr
    momentum = momentum * numbers.memory + gradient * numbers.intake
    return weight, momentum


class Lion(LionSteps):
    """Lion: the sign of an interpolation of gradient and momentum, with decoupled weight decay.

    Maths, for each element, with m = 0 before the first step and sign(0) = 0:

        c = beta1 m + (1 - beta1) g
        w <- w - lr weight_decay w - lr sign(c)
        m <- beta2 m + (1 - beta2) g

    Complex parameters are treated as pairs of real ones. Everything but `params` may be set per
    group. What combines and what is refused: docs/lion_options.md.

    Args:
        params: Parameters, (name, parameter) pairs or group dictionaries.
        lr: Learning rate; 3 to 10 times below AdamW's. A tensor of one element is allowed.
        betas: Weight of the momentum in the update, and memory of the momentum.
        weight_decay: 3 to 10 times above AdamW's.
        decay_mode: ``"lr"`` removes lr * weight_decay of a weight in each step; ``"independent"``
            removes weight_decay * lr / reference_lr, where reference_lr is the peak rate: given in
            the group, or its ``max_lr`` or ``initial_lr`` if a scheduler had left them, or its lr
            when it was added; ``"cautious"`` is ``"lr"``, but only where the update does not push
            the weight away from zero.
        cautious: Drop updates that disagree with the gradient in sign, and scale up the others of
            the parameter by one over their share (at most 1000).
        nonfinite: What infinite and NaN elements of a gradient do. ``"ignore"``: their weights
            and momenta stay as they are. ``"zero"``: they count as 0. ``"skip_step"``: the whole
            step does nothing. ``"raise"``: an error before anything changes. ``"propagate"``:
            what the maths gives, NaN included.
        momentum_dtype: None is float64 for float64 weights, else float32; `torch.float32`;
            `torch.bfloat16`; ``"8bit"`` (int8 and a scale for each block of 64).
        rounding: How bfloat16 and float16 weights are written. None is ``"stochastic"``: up or
            down at random, right on average. ``"kahan"``: exact float32 weights in two 16-bit
            parts. ``"nearest"``: small steps are lost, as in other optimizers. Other weights:
            no meaning.
        seed: Seed of stochastic rounding; with step and parameter number it fixes all bits.
        foreach: List operations on cache-sized batches; None is True where it can be.
        fused: One kernel made by `torch.compile`; where no C++ compiler is found, foreach.
        maximize: Climb.
        capturable: Leave all numbers on the device, for CUDA graphs.
        differentiable: Record the step for autograd.

    Raises:
        OptimizerError: For values that are not allowed or exclude each other, sparse gradients,
            and dtypes that are not float64, float32, bfloat16, float16, complex128 or complex64.
        NonFiniteError: In `step`, if `nonfinite="raise"`.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        >>> optimizer = Lion([weight], lr=0.1, weight_decay=0.5)
        >>> weight.grad = torch.tensor([3.0, 0.0])
        >>> optimizer.step()
        >>> weight.tolist()
        [0.84..., -0.94...]

    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675,
    program 1. Cautious updates: Liang et al., arXiv 2411.16085. Cautious decay: Chen et al.,
    arXiv 2510.12402.
    """

    formula = staticmethod(lion)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-4,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        decay_mode: str = "lr",
        cautious: bool = False,
        nonfinite: str = "ignore",
        momentum_dtype: torch.dtype | str | None = None,
        rounding: str | None = None,
        seed: int = 0,
        foreach: bool | None = None,
        fused: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        keywords = locals() | {"reference_lr": 1.0}
        defaults = checked_settings({key: keywords[key] for key in KEYS})
        self._forget()
        super().__init__(params, {**defaults, "reference_lr": None})
