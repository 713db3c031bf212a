"""The learning-rate schedule that every task shares: a program sees it as ``lr``."""

from __future__ import annotations

import math

from optforge.errors import TaskError


def schedule(step: int, steps: int, warmup: float = 0.1) -> float:
    r"""Linear warm-up to exactly 1, then half a cosine towards 0.

    With :math:`k = \max(1, \mathrm{round}(\mathrm{warmup} \cdot \mathrm{steps}))`: the value is
    :math:`(s + 1) / k` for :math:`s < k`, afterwards
    :math:`\frac12 (1 + \cos(\pi (s - k + 1) / (\mathrm{steps} - k + 1)))`. It would reach 0 one
    step after the last, so that no step is wasted.

    Args:
        step: The step, counted from 0.
        steps: The number of steps of the whole run.
        warmup: The share of the steps spent warming up, between 0 and 1.

    Returns:
        The value, in (0, 1].

    Raises:
        TaskError: If the step lies outside of the run or the share outside of [0, 1].

    Example:
        >>> [round(schedule(step, 10, 0.2), 3) for step in (0, 1, 2, 9)]
        [0.5, 1.0, 0.97, 0.03]

    Source: Loshchilov and Hutter, SGDR, 2017 (arXiv:1608.03983).
    """
    if not 0 <= step < steps:
        raise TaskError(f"step {step} is outside of the run; allowed is 0 to {steps - 1}")
    if not 0 <= warmup <= 1:
        raise TaskError(f"warmup is {warmup}; allowed is a share of the steps between 0 and 1")
    peak = max(1, round(warmup * steps))
    if step < peak:
        return (step + 1) / peak
    return 0.5 * (1 + math.cos(math.pi * (step - peak + 1) / (steps - peak + 1)))
