"""The learning-rate schedule that every task shares: a program sees it as ``lr``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from optforge.errors import TaskError


@dataclass(frozen=True)
class Schedule:
    r"""The shape of a schedule: warm-up, power and final value of the decay.

    With :math:`d` the half cosine that :func:`schedule` decays along, the value is
    :math:`f + (1 - f) d^p` after the warm-up; the peak is always 1.

    Args:
        warmup: Share of the steps spent warming up, 0 to 1.
        power: p, positive; below 1 the rate stays high for longer.
        final: f, from 0 to 1.

    Raises:
        TaskError: If a value is not allowed.

    Example:
        >>> shape = Schedule(warmup=0.2, power=0.5, final=0.1)
        >>> [round(value, 3) for value in shape.values(10)][:3]
        [0.5, 1.0, 0.986]
    """

    warmup: float = 0.1
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        for name in ("warmup", "final"):
            if not 0 <= getattr(self, name) <= 1:
                raise TaskError(
                    f"{name} of a schedule is {getattr(self, name)}; allowed is a share from 0 to 1"
                )
        if not 0 < self.power < math.inf:
            raise TaskError(f"power of a schedule is {self.power}; allowed is a number above 0")

    def value(
        self, step: int, steps: int, decay: Callable[[int, int, float], float] | None = None
    ) -> float:
        """Return the value of one step of a run.

        Args:
            step: The step, counted from 0.
            steps: Number of steps of the whole run.
            decay: Function that replaces :func:`schedule`, the half cosine, with the same
                arguments.
        """
        value = (decay or schedule)(step, steps, self.warmup)
        if step + 1 < max(1, round(self.warmup * steps)):
            return value
        return self.final + (1 - self.final) * value**self.power

    def values(self, steps: int) -> list[float]:
        """Return the values of all steps of a run."""
        return [self.value(step, steps) for step in range(steps)]


def schedule(step: int, steps: int, warmup: float = 0.1) -> float:
    r"""Return a linear warm-up to exactly 1, then half a cosine towards 0.

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
