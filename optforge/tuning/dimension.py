"""A hyper-parameter and its range."""

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
    """A hyper-parameter and its range, sampled on a logarithmic scale unless stated otherwise.

    A dimension named ``one_minus_beta1`` is sampled as such and becomes ``beta1``, because the
    memory of an average is what matters.

    Args:
        name: For example ``lr``, ``weight_decay``, ``one_minus_beta1`` or ``warmup``.
        low: Lower end of the range.
        high: Upper end of the range.
        log: Whether the scale is logarithmic.
        floor: Value below which the range never grows.
        ceiling: Value above which the range never grows. A linear range grows only if this is
            finite.
        levels: If not 0, the number of evenly spaced values that are drawn, including both ends.
            This is for a range whose end, such as 0, is a special value.
        ordered: Whether neighboring levels are similar; otherwise a level is a category.

    Raises:
        CompareError: If the range is empty, or is logarithmic and not positive.

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
        """Return the position of a value in the range: 0 at the lower end, 1 at the upper end."""
        low, high, value = (self._scaled(x) for x in (self.low, self.high, value))
        return (value - low) / (high - low)

    def value(self, position: float) -> float:
        """Return the value at a position; positions outside 0 to 1 lie outside the range."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = low + position * (high - low)
        value = math.exp(value) if self.log else value
        return min(max(value, self.floor), self.ceiling)

    @property
    def called(self) -> set[str]:
        """Return the names that select this dimension for tuning."""
        plain_name = self.name.removeprefix(COMPLEMENT)
        return (
            {self.name, plain_name, "betas"}
            if MEMORY.fullmatch(plain_name)
            else {self.name, plain_name}
        )

    @property
    def grows(self) -> bool:
        """Whether the range may grow: if it is logarithmic or has an upper bound."""
        return self.log or math.isfinite(self.ceiling)

    @property
    def distribution(self) -> BaseDistribution:
        """Return the range as a distribution of Optuna."""
        if not self.ordered:
            return CategoricalDistribution([self._level(n) for n in range(self.levels)])
        step = (self.high - self.low) / (self.levels - 1) if self.levels else None
        return FloatDistribution(self.low, self.high, log=self.log, step=step)

    def sample(self, share: float) -> float:
        """Return the value for a random number from 0 to 1; levels are equally likely."""
        if not self.levels:
            return self.value(share)
        return self._level(min(int(share * self.levels), self.levels - 1))

    def nearest(self, value: float) -> float:
        """Return the value in the range that is nearest to a given value."""
        return value if not self.ordered else min(max(value, self.low), self.high)

    def grid(self, count: int) -> tuple[float, ...]:
        """Return the midpoints of equal parts of the range: for two, a quarter and three quarters.

        If the ends were included, a few values would lie only at the edges and never inside. For
        levels the lowest is the first value: for two, the lower end and the middle.
        """
        offset = 0.0 if self.levels else 0.5
        return tuple(self.value((n + offset) / count) for n in range(count))

    def _level(self, number: int) -> float:
        return self.value(number / (self.levels - 1))

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value
