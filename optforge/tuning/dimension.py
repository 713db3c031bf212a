"""One hyper-parameter and its range."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from optforge.errors import CompareError

COMPLEMENT = "one_minus_"
MEMORY = re.compile(r"beta[1-9]?|momentum")


@dataclass(frozen=True)
class Dimension:
    """One hyper-parameter and its range, drawn on a logarithmic scale unless said otherwise.

    A name ``one_minus_beta1`` is drawn as such and becomes ``beta1``: what matters is how long an
    average remembers.

    Args:
        name: For example ``lr``, ``weight_decay``, ``one_minus_beta1`` or ``warmup``.
        low: Lower end.
        high: Upper end.
        log: Whether the scale is logarithmic.
        floor: The range never grows below this.
        ceiling: Nor above this. A linear range grows only where this is finite.
        levels: If not 0, only so many evenly spaced values are drawn, both ends among them: for
            a range whose end, such as 0, is a value by itself.
        ordered: Whether neighboring levels are alike; without order a level is a choice.

    Raises:
        CompareError: If the range is empty, or not positive where it is logarithmic.

    Example:
        >>> round(Dimension("lr", 1e-4, 1e-2).position(1e-3), 6)
        0.5
    """

    name: str
    low: float
    high: float
    log: bool = True
    floor: float = 0.0
    ceiling: float = math.inf
    levels: int = 0
    ordered: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise CompareError(
                f"the range of {self.name} is {self.low} to {self.high}; "
                "give two finite numbers, the lower one first"
            )
        if self.log and self.low <= 0:
            raise CompareError(
                f"the range of {self.name} begins at {self.low}; "
                "a logarithmic one must begin above 0"
            )

    def position(self, value: float) -> float:
        """Where a value lies in the range: 0 at the lower end, 1 at the upper one."""
        low, high, value = (self._scaled(x) for x in (self.low, self.high, value))
        return (value - low) / (high - low)

    def value(self, position: float) -> float:
        """The value at a position; those outside of 0 to 1 lie outside of the range."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = low + position * (high - low)
        value = math.exp(value) if self.log else value
        return min(max(value, self.floor), self.ceiling)

    @property
    def called(self) -> set[str]:
        """What stands for this dimension where it is said what is tuned."""
        own = self.name.removeprefix(COMPLEMENT)
        return {self.name, own, "betas"} if MEMORY.fullmatch(own) else {self.name, own}

    @property
    def grows(self) -> bool:
        """Whether the range may grow: a logarithmic one, or one with an upper bound."""
        return self.log or math.isfinite(self.ceiling)

    @property
    def distribution(self) -> BaseDistribution:
        """The range as Optuna's samplers know it."""
        if not self.ordered:
            return CategoricalDistribution([self._level(n) for n in range(self.levels)])
        step = (self.high - self.low) / (self.levels - 1) if self.levels else None
        return FloatDistribution(self.low, self.high, log=self.log, step=step)

    def sample(self, share: float) -> float:
        """Return the value at a random number from 0 to 1; of levels, each equally often."""
        if not self.levels:
            return self.value(share)
        return self._level(min(int(share * self.levels), self.levels - 1))

    def nearest(self, value: float) -> float:
        """Return the value of the range that is nearest to a value."""
        return value if not self.ordered else min(max(value, self.low), self.high)

    def grid(self, count: int) -> tuple[float, ...]:
        """The middles of so many equal parts of the range: of two, a quarter and three quarters.

        With the ends among them, few values would lie at edges alone and never inside. Of levels
        the lowest is the first value: of two, the lower end and the middle.
        """
        offset = 0.0 if self.levels else 0.5
        return tuple(self.value((n + offset) / count) for n in range(count))

    def _level(self, number: int) -> float:
        return self.value(number / (self.levels - 1))

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value
