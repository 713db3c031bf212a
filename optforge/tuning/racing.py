"""Racing: the first seed of a trial decides whether it gets the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy
from numpy import ndarray

KEPT = 1 / 3  # share of the trials of a round that are trained on all their seeds
FAILED = 1e3  # log loss of a setting that diverged


def promising(firsts: ndarray) -> ndarray:
    """Return which trials of a round are in its best third, at least one, bool ``[trials]``.

    Args:
        firsts: Their mean log losses on the first seed, float64 ``[trials]``.

    Example:
        >>> promising(numpy.array([0.3, 0.2, 0.5, 0.6, 0.4, 0.1])).tolist()
        [False, True, False, False, False, True]
    """
    last = max(1, round(KEPT * len(firsts)))
    return firsts <= numpy.sort(firsts)[last - 1] if len(firsts) else firsts < 0


@dataclass
class Race:
    """The race of the trials of one study.

    Args:
        shifts: Mean log loss on all seeds less that on the first, of the trials that had all.

    Source: Birattari et al., A Racing Algorithm for Configuring Metaheuristics, 2002, which races
    instances as this races seeds.
    """

    shifts: list[float] = field(default_factory=list)

    def losses(self, firsts: ndarray, wholes: ndarray) -> ndarray:
        """Return the loss of every trial of a round, estimated where it had one seed alone.

        An easy first seed is easy for all, so what it differs from the mean of all seeds is added.

        Args:
            firsts: Mean log losses on the first seed, float64 ``[trials]``.
            wholes: Mean log losses on all seeds of those that are :func:`promising`.

        Example:
            >>> Race().losses(numpy.array([0.1, 0.7]), numpy.array([0.2])).round(3).tolist()
            [0.2, 0.8]
        """
        chosen = promising(firsts)
        self.shifts += (wholes - firsts[chosen]).tolist()
        result = firsts + (numpy.median(self.shifts) if self.shifts else 0.0)
        result[chosen] = wholes
        return numpy.where(firsts < FAILED, result, FAILED)
