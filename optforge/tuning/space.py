"""The space of tuning: ranges of hyper-parameters, and settings drawn from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from optuna.distributions import BaseDistribution

from optforge.language import round_constant
from optforge.tuning.dimension import COMPLEMENT, Dimension

Setting: TypeAlias = tuple[tuple[str, float], ...]
"""Names and values of hyper-parameters, in the order of the names; hashable."""

OUTER = 0.1  # a best trial in this share of a range, at either end, means: look further


@dataclass(frozen=True)
class Space:
    """Dimensions that are tuned together.

    Args:
        dimensions: The ranges, the most important one first.
        of_constants: Whether the values become constants of a program, which are then rounded to
            six significant digits; otherwise the drawn numbers are rounded.

    Example:
        >>> space = Space((Dimension("lr", 1e-4, 1e-2), Dimension("one_minus_beta1", 0.01, 1.0)))
        >>> [sorted(dict(setting)) for setting in space.quasi_random(2, seed=0)]
        [['beta1', 'lr'], ['beta1', 'lr']]
    """

    dimensions: tuple[Dimension, ...]
    of_constants: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, as they are drawn."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The ranges as distributions of Optuna, by name."""
        return {dimension.name: dimension.distribution for dimension in self.dimensions}

    def setting(self, drawn: Mapping[str, float]) -> Setting:
        """Return the setting for drawn numbers.

        Example:
            >>> space = Space((Dimension("one_minus_beta1", 0.01, 1.0),), of_constants=True)
            >>> space.setting({"one_minus_beta1": 0.00123456})
            (('beta1', 0.998765),)
        """
        if not self.of_constants:
            return setting_of(drawn)
        values = {
            name.removeprefix(COMPLEMENT): 1 - value if name.startswith(COMPLEMENT) else value
            for name, value in drawn.items()
        }
        return tuple(sorted((name, round_constant(float(v))) for name, v in values.items()))

    def nearest(self, setting: Setting) -> dict[str, float]:
        """Return the numbers whose setting is as near to a given one as the ranges allow."""
        return {d.name: d.nearest(drawn_value(d.name, setting)) for d in self.dimensions}

    def only(self, names: Iterable[str]) -> Space:
        """Return the space of the named dimensions; ``beta1`` also selects ``one_minus_beta1``.

        ``betas`` stands for all averages, including one called ``momentum``.
        """
        wanted = set(names)
        return replace(self, dimensions=tuple(d for d in self.dimensions if d.called & wanted))

    def quasi_random(self, count: int, seed: int) -> tuple[Setting, ...]:
        """Return settings of a scrambled Sobol sequence; a longer one has the same beginning.

        Args:
            count: Number of settings.
            seed: Seed of the scrambling.

        Source: Bousquet et al., Critical Hyper-Parameters: No Random, No Cry, 2017.
        """
        if not self.dimensions:
            return ((),) * min(count, 1)
        from scipy.stats import qmc  # a second to import

        sequence = qmc.Sobol(len(self.dimensions), scramble=True, seed=seed)  # type: ignore[call-arg]
        # One by one: asked for several at once, it warns unless they are a power of two.
        points = [sequence.random(1)[0].tolist() for _ in range(count)]
        return tuple(
            self.setting({d.name: d.sample(x) for d, x in zip(self.dimensions, point, strict=True)})
            for point in points
        )

    def grid(self, count: int) -> tuple[Setting, ...]:
        """Return an even full grid of at most ``count`` settings, finest in the first names."""
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
        return tuple(self.setting(dict(zip(self.names, row, strict=True))) for row in rows)

    def edges(self, setting: Setting) -> dict[str, int]:
        """Return where a setting lies in the outer tenth of a range that can still grow.

        Returns:
            For each such dimension -1 for the lower end or 1 for the upper one.
        """
        edges = {}
        for dimension in self.dimensions:
            position = dimension.position(drawn_value(dimension.name, setting))
            if not dimension.grows:
                continue
            if position < OUTER and dimension.low > dimension.floor:
                edges[dimension.name] = -1
            elif position > 1 - OUTER and dimension.high < dimension.ceiling:
                edges[dimension.name] = 1
        return edges

    def extended(self, edges: Mapping[str, int], share: float = 0.5) -> Space:
        """Return the space with ranges extended at the given ends by a share of their length."""
        grown = (
            _extended(d, edges[d.name], share) if d.name in edges else d for d in self.dimensions
        )
        return replace(self, dimensions=tuple(grown))

    def around(self, setting: Setting, edges: Mapping[str, int], share: float = 0.15) -> Space:
        """Return the box around a setting: a share of each range on both sides, or to a given end.

        Args:
            setting: The middle of the box.
            edges: Ends up to which the box reaches; this space is already extended there.
            share: Share of a range.
        """
        boxes = (_box(d, setting, edges.get(d.name, 0), share) for d in self.dimensions)
        return replace(self, dimensions=tuple(boxes))


def setting_of(values: Mapping[str, float]) -> Setting:
    """Return drawn values as a setting: complements resolved, numbers rounded, names in order.

    Example:
        >>> setting_of({"one_minus_beta1": 0.1, "lr": 0.00123456789})
        (('beta1', 0.9), ('lr', 0.00123457))
    """
    setting = {}
    for name, value in values.items():
        rounded = round_constant(float(value))
        if name.startswith(COMPLEMENT):
            setting[name.removeprefix(COMPLEMENT)] = round(1 - rounded, 12)
        else:
            setting[name] = rounded
    return tuple(sorted(setting.items()))


def drawn_value(name: str, setting: Setting) -> float:
    """Return the value of a dimension from which a setting was drawn.

    Example:
        >>> round(drawn_value("one_minus_beta1", (("beta1", 0.9),)), 6)
        0.1
    """
    values = dict(setting)
    if name.startswith(COMPLEMENT):
        return 1 - values[name.removeprefix(COMPLEMENT)]
    return values[name]


def with_values(setting: Setting, values: Mapping[str, float]) -> Setting:
    """Return a setting with some values replaced."""
    return tuple(sorted({**dict(setting), **values}.items()))


def _extended(dimension: Dimension, side: int, share: float) -> Dimension:
    if side < 0:
        return replace(dimension, low=round_constant(dimension.value(-share)))
    return replace(dimension, high=round_constant(dimension.value(1 + share)))


def _box(dimension: Dimension, setting: Setting, side: int, share: float) -> Dimension:
    middle = dimension.position(drawn_value(dimension.name, setting))
    low = 0.0 if side < 0 else max(0.0, middle - share)
    high = 1.0 if side > 0 else min(1.0, middle + share)
    return replace(dimension, low=dimension.value(low), high=dimension.value(high))
