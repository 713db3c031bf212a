"""What is tuned: ranges of hyper-parameters, and the settings drawn from them."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from optforge.errors import CompareError

Setting: TypeAlias = tuple[tuple[str, float], ...]
"""Names and values of hyper-parameters, in the order of the names; hashable."""

OUTER = 0.1  # a best trial in this share of a range, at either end, means: look further
COMPLEMENT = "one_minus_"
MEMORY = re.compile(r"beta[1-9]?|momentum")
_DIGITS = 6  # that drawn values keep, so that a setting can be read and copied


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
        """The range as Optuna knows it; with levels, the ends are drawn as often as the others."""
        if self.levels:
            return FloatDistribution(-0.5, self.levels - 0.5)
        return FloatDistribution(self.low, self.high, log=self.log)

    def drawn(self, number: float) -> float:
        """Return the value for a number drawn from the distribution."""
        if not self.levels:
            return number
        level = min(max(round(number), 0), self.levels - 1)
        return self.value(level / (self.levels - 1))

    def grid(self, count: int) -> tuple[float, ...]:
        """The middles of so many equal parts of the range: of two, a quarter and three quarters.

        With the ends among them, few values would lie at edges alone and never inside. Of levels
        the lowest is the first value: of two, the lower end and the middle.
        """
        offset = 0.0 if self.levels else 0.5
        return tuple(self.value((n + offset) / count) for n in range(count))

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-300)) if self.log else value


@dataclass(frozen=True)
class Space:
    """The dimensions that are tuned together.

    Args:
        dimensions: The ranges, the most important one first.

    Example:
        >>> space = Space((Dimension("lr", 1e-4, 1e-2), Dimension("one_minus_beta1", 0.01, 1.0)))
        >>> [sorted(dict(setting)) for setting in space.quasi_random(2, seed=0)]
        [['beta1', 'lr'], ['beta1', 'lr']]
    """

    dimensions: tuple[Dimension, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, as drawn."""
        return tuple(dimension.name for dimension in self.dimensions)

    def only(self, names: Iterable[str]) -> Space:
        """The dimensions with these names, ``beta1`` also as ``one_minus_beta1``.

        ``betas`` stands for all that remember, be it called ``momentum``.
        """
        wanted = set(names)
        return Space(tuple(d for d in self.dimensions if d.called & wanted))

    def quasi_random(self, count: int, seed: int) -> tuple[Setting, ...]:
        """The first settings of a scrambled Sobol sequence; of more, these are the first.

        Args:
            count: How many.
            seed: Of the scrambling.

        Source: Bousquet et al., Critical Hyper-Parameters: No Random, No Cry, 2017.
        """
        if not self.dimensions:
            return ((),) * min(count, 1)
        distributions = {d.name: d.distribution for d in self.dimensions}
        study, sampler = _quiet_study(seed)
        # The sampler looks at the space and its own counter alone, never at a trial.
        drawn = [sampler.sample_relative(study, None, distributions) for _ in range(count)]  # type: ignore[arg-type]
        made = {d.name: d for d in self.dimensions}
        return tuple(
            setting_of({name: made[name].drawn(number) for name, number in numbers.items()})
            for numbers in drawn
        )

    def grid(self, count: int) -> tuple[Setting, ...]:
        """A full grid of at most so many settings, as even as it gets, the first ones finest."""
        counts = [1] * len(self.dimensions)
        grown = True
        while grown:
            grown = False
            for place in range(len(counts)):
                more = [n + (place == other) for other, n in enumerate(counts)]
                if math.prod(more) <= count:
                    counts, grown = more, True
        axes = [d.grid(n) for d, n in zip(self.dimensions, counts, strict=True)]
        rows = itertools.product(*axes)
        return tuple(setting_of(dict(zip(self.names, row, strict=True))) for row in rows)

    def edges(self, setting: Setting) -> dict[str, int]:
        """Where a setting lies in the outer tenth of a range that can still grow.

        Returns:
            For each such dimension -1 for the lower end or 1 for the upper one.
        """
        found = {}
        for dimension in self.dimensions:
            position = dimension.position(drawn_value(dimension.name, setting))
            if not dimension.grows:
                continue
            if position < OUTER and dimension.low > dimension.floor:
                found[dimension.name] = -1
            elif position > 1 - OUTER and dimension.high < dimension.ceiling:
                found[dimension.name] = 1
        return found

    def extended(self, edges: Mapping[str, int], share: float = 0.5) -> Space:
        """The space with ranges longer by a share of their length at the ends given."""
        return Space(
            tuple(
                _extended(d, edges[d.name], share) if d.name in edges else d
                for d in self.dimensions
            )
        )

    def around(self, setting: Setting, edges: Mapping[str, int], share: float = 0.15) -> Space:
        """The box about a setting: this share of each range to both sides, to the end at an edge.

        Args:
            setting: The middle of the box.
            edges: Ends up to which the box reaches; this space is extended there already.
            share: Of a range.
        """
        return Space(tuple(_box(d, setting, edges.get(d.name, 0), share) for d in self.dimensions))


def setting_of(values: Mapping[str, float]) -> Setting:
    """Drawn values as a setting: complements resolved, numbers rounded, names in order.

    Example:
        >>> setting_of({"one_minus_beta1": 0.1, "lr": 0.00123456789})
        (('beta1', 0.9), ('lr', 0.00123457))
    """
    found = {}
    for name, value in values.items():
        rounded = _rounded(float(value))
        if name.startswith(COMPLEMENT):
            found[name.removeprefix(COMPLEMENT)] = round(1 - rounded, 12)
        else:
            found[name] = rounded
    return tuple(sorted(found.items()))


def drawn_value(name: str, setting: Setting) -> float:
    """The value that a dimension had when a setting was drawn.

    Example:
        >>> round(drawn_value("one_minus_beta1", (("beta1", 0.9),)), 6)
        0.1
    """
    values = dict(setting)
    if name.startswith(COMPLEMENT):
        return 1 - values[name.removeprefix(COMPLEMENT)]
    return values[name]


def with_values(setting: Setting, values: Mapping[str, float]) -> Setting:
    """A setting with other values for some names."""
    return tuple(sorted({**dict(setting), **values}.items()))


def _extended(dimension: Dimension, side: int, share: float) -> Dimension:
    if side < 0:
        return replace(dimension, low=_rounded(dimension.value(-share)))
    return replace(dimension, high=_rounded(dimension.value(1 + share)))


def _box(dimension: Dimension, setting: Setting, side: int, share: float) -> Dimension:
    middle = dimension.position(drawn_value(dimension.name, setting))
    low = 0.0 if side < 0 else max(0.0, middle - share)
    high = 1.0 if side > 0 else min(1.0, middle + share)
    return replace(dimension, low=dimension.value(low), high=dimension.value(high))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _quiet_study(seed: int) -> tuple[optuna.Study, optuna.samplers.QMCSampler]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(scramble=True, seed=seed)
    return optuna.create_study(sampler=sampler), sampler
