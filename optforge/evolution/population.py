"""The aging population and its tournament."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from optforge.analysis import examine, lean_fingerprint, live_program
from optforge.evolution.mutation import Child
from optforge.fitness import Rank
from optforge.language import Program, parse

_REMEMBERED = 20_000  # programs; parsing a text takes several times as long as mutating it
_genomes: dict[str, Genome] = {}


@dataclass(frozen=True)
class Genome:
    """A valid program with what is known of it.

    Args:
        program: With its dead statements, which mutations may bring to life.
        kinds: Of its states.
        lean: The program without what is dead.
        fingerprint: What it computes.
    """

    program: Program
    kinds: tuple[int, ...]
    lean: Program
    fingerprint: str


def remember(genome: Genome) -> None:
    """Keep a program that was just made, so that its text need not be parsed again."""
    if len(_genomes) >= _REMEMBERED:
        del _genomes[next(iter(_genomes))]  # the oldest
    _genomes[genome.program.text] = genome


def recall(program: str | Program) -> Genome:
    """Give what is known of a program, or find it out."""
    known = _genomes.get(program if isinstance(program, str) else program.text)
    if known is None:
        parsed = parse(program) if isinstance(program, str) else program
        kinds, live = examine(parsed)
        lean = live_program(parsed, live)
        known = Genome(parsed, kinds, lean, lean_fingerprint(lean))
        remember(known)
    return known


def bear(parent: Genome, child: Child) -> Genome:
    """Give what is known of a child; most have the live statements of their parent."""
    lean, old = live_program(child.program, child.live), parent.lean
    same = (
        lean.statements == old.statements
        and lean.parameters == old.parameters
        and lean.outputs == old.outputs
    )
    value = parent.fingerprint if same else lean_fingerprint(lean)
    genome = Genome(child.program, child.kinds, lean, value)
    remember(genome)
    return genome


@dataclass(frozen=True)
class Individual:
    """A program in the population; its text is parsed if it becomes a parent after a resume."""

    number: int
    text: str
    fingerprint: str
    rank: Rank

    @cached_property
    def genome(self) -> Genome:
        """The program, and what is known of it."""
        return recall(self.text)


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
