"""The aging population and its tournament."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random

from optforge.evolution.candidate import Candidate, Standing


class Population:
    """The last P programs; the oldest is removed when a new one is added.

    Args:
        size: The number of programs, P.

    Source: Real et al., "Regularized Evolution for Image Classifier Architecture Search", 2019.
    """

    def __init__(self, size: int) -> None:
        self.members: deque[Candidate] = deque(maxlen=size)

    def restart(self, candidate: Candidate) -> None:
        """Fill the whole population with one program."""
        size = self.members.maxlen or 0
        self.members.extend([candidate] * size)

    def add(self, candidate: Candidate) -> None:
        """Add a child and remove the oldest member."""
        self.members.append(candidate)

    def rerank(self, fingerprint: str, standing: Standing) -> None:
        """Assign a new rank to all members with the same fingerprint."""
        for place, member in enumerate(self.members):
            if member.fingerprint == fingerprint:
                self.members[place] = replace(member, standing=standing)

    def parent(self, tournament: int, random: Random) -> Candidate:
        """Return the best of some randomly drawn members."""
        size = len(self.members)
        drawn = [self.members[int(random.random() * size)] for _ in range(tournament)]
        return min(drawn, key=lambda member: member.rank)
