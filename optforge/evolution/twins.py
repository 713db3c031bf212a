"""Programs that compute the same numbers as a known one, and so need no training of their own.

Abstract execution proves programs equal, but not all that are: an orthogonalised update forgets
whatever multiplied it. Without this, two thirds of the training of an hour with functions on
matrices went to such twins, and the luckiest of them led the search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy

from optforge.analysis import cost, numeric_fingerprint, wide_updates
from optforge.evolution.candidate import Candidate, key_of, seed_set_of
from optforge.evolution.genome import Genome
from optforge.evolution.known import KnownPrograms
from optforge.language import Program

_REMEMBERED = 20_000


@dataclass(frozen=True)
class Twin:
    """A program that is known or on its way, as others with equal numbers see it.

    Args:
        state_bytes: Bytes of state for each parameter.
        key: What it is known by.
    """

    state_bytes: float
    key: str


class Twins:
    """Finds the known program that a new one equals in its numbers.

    Args:
        known: All judged programs.
        on_their_way: Programs that are being judged.
        seed_set: Set of seeds that both must be judged on.
    """

    def __init__(
        self, known: KnownPrograms, on_their_way: Iterable[Candidate] = (), seed_set: int = 0
    ) -> None:
        self.known, self.seed_set = known, seed_set
        self._drawn: dict[str, list[Twin]] = {}
        for candidate in on_their_way:
            if candidate.seed_set == seed_set:
                self.add(candidate.genome)

    def add(self, genome: Genome) -> None:
        """Add a program that will be judged."""
        numbers = _numbers(genome.lean)
        if numbers is not None:
            key = key_of(genome.fingerprint, self.seed_set)
            twin = Twin(cost(genome.lean).state_bytes, key)
            self._drawn.setdefault(numbers, []).append(twin)

    def of(self, genome: Genome) -> str | None:
        """Return the key of the program that stands for this one, None if none does.

        It has the same updates on the fixed inputs of the numeric fingerprint, to five digits. It
        keeps no more state, so that a rule with less is judged. Numbers that are not finite say
        nothing.

        Args:
            genome: A program whose own fingerprint is not known.
        """
        numbers = _numbers(genome.lean)
        if numbers is None:
            return None
        known = self._known(numbers)
        twin = min((*known, *self._drawn.get(numbers, ())), key=_state_bytes, default=None)
        if twin is None or twin.state_bytes > cost(genome.lean).state_bytes:
            return None
        return twin.key

    def _known(self, numbers: str) -> Sequence[Twin]:
        standings = self.known.with_numbers(numbers)
        return [
            Twin(standing.rank[3], key)
            for key, standing in standings
            if seed_set_of(key) == self.seed_set
        ]


def _state_bytes(twin: Twin) -> float:
    return twin.state_bytes


@lru_cache(_REMEMBERED)
def _numbers(lean: Program) -> str | None:
    updates = wide_updates(lean)
    return numeric_fingerprint(updates) if numpy.isfinite(updates).all() else None
