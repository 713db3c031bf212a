"""The aging population and its tournament."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from optforge.fitness import Rank
from optforge.language import Program, parse


@dataclass(frozen=True)
class Individual:
    """A program in the population; its text is parsed when it first becomes a parent."""

    number: int
    text: str
    fingerprint: str
    rank: Rank

    @cached_property
    def program(self) -> Program:
        """The program."""
        return parse(self.text)


class Population:
    """The last P programs; the oldest dies when a new one comes.

    Args:
        size: P.

    Source: Real et al., "Regularized Evolution for Image Classifier Architecture Search", 2019.
    """

    def __init__(self, size: int) -> None:
        self.members: deque[Individual] = deque(maxlen=size)

    def restart(self, individual: Individual) -> None:
        """Fill the whole population with one program."""
        size = self.members.maxlen or 0
        self.members.extend([individual] * size)

    def add(self, individual: Individual) -> None:
        """Take in a child; the oldest member leaves."""
        self.members.append(individual)

    def rerank(self, fingerprint: str, rank: Rank) -> None:
        """Give all members that compute the same another rank."""
        for place, member in enumerate(self.members):
            if member.fingerprint == fingerprint:
                self.members[place] = replace(member, rank=rank)

    def parent(self, tournament: int, random: Random) -> Individual:
        """Draw members at random and give the best of them."""
        size = len(self.members)
        drawn = [self.members[int(random.random() * size)] for _ in range(tournament)]
        return min(drawn, key=lambda individual: individual.rank)
