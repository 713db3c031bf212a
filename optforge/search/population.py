"""The aging population and its tournament."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from optforge.fitness import Rank
from optforge.language import Program, parse

_REMEMBERED = 20_000  # programs; parsing a text takes several times as long as mutating it
_programs: dict[str, Program] = {}


def remember(program: Program) -> None:
    """Keep a program that was just made, so that its text need not be parsed again."""
    if len(_programs) >= _REMEMBERED:
        del _programs[next(iter(_programs))]  # the oldest
    _programs[program.text] = program


@dataclass(frozen=True)
class Individual:
    """A program in the population; its text is parsed if it becomes a parent after a resume."""

    number: int
    text: str
    fingerprint: str
    rank: Rank

    @cached_property
    def program(self) -> Program:
        """The program."""
        known = _programs.get(self.text)
        return parse(self.text) if known is None else known


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
