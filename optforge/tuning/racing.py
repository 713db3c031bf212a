"""Racing: the first seed of a trial decides whether it gets the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy
from numpy import ndarray

KEPT = 1 / 3  # share of the trials of a study that are trained on all their seeds
FAILED = 1e3  # log loss of a setting that diverged


@dataclass
class Race:
    """The trials of one study so far, by their loss on the first seed.

    Args:
        firsts: Mean log losses of all trials on the first seed.
        shifts: Mean log loss on all seeds less that on the first, of the trials that had all.

    Source: Birattari et al., A Racing Algorithm for Configuring Metaheuristics, 2002, which races
    instances as this races seeds.
    """

    firsts: list[float] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)

    def chosen(self, firsts: ndarray) -> ndarray:
        """Return which of new trials are in the best third so far, bool ``[trials]``.

        Args:
            firsts: Their mean log losses on the first seed, float64 ``[trials]``.

        Example:
            >>> Race([0.4, 0.1]).chosen(numpy.array([0.3, 0.2, 0.5, 0.6])).tolist()
            [False, True, False, False]
        """
        self.firsts += firsts.tolist()
        last = max(1, round(KEPT * len(self.firsts)))
        return firsts <= sorted(self.firsts)[last - 1]

    def losses(self, firsts: ndarray, chosen: ndarray, wholes: ndarray) -> ndarray:
        """Return the loss of every new trial, estimated from its first seed where it had no other.

        An easy first seed is easy for all, so what it differs from the mean of all seeds is added.

        Args:
            firsts: Mean log losses on the first seed, float64 ``[trials]``.
            chosen: Which were trained on all seeds, bool ``[trials]``.
            wholes: Mean log losses of these on all seeds.

        Example:
            >>> race = Race()
            >>> firsts = numpy.array([0.1, 0.7])
            >>> race.losses(firsts, race.chosen(firsts), numpy.array([0.2])).round(3).tolist()
            [0.2, 0.8]
        """
        self.shifts += (wholes - firsts[chosen]).tolist()
        result = firsts + (numpy.median(self.shifts) if self.shifts else 0.0)
        result[chosen] = wholes
        return numpy.where(firsts < FAILED, result, FAILED)
