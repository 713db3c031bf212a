"""A program on its way through a search, and batches of such programs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from optforge.evolution.genome import Genome, recall
from optforge.fitness import Rank
from optforge.language import Program
from optforge.runs import Proposal

_LAST: Rank = (math.inf, math.inf, math.inf, math.inf, math.inf)


@dataclass(frozen=True)
class Standing:
    """The part of a verdict that a search keeps in memory.

    Args:
        id: The verdict's number in the journal.
        rank: Rank of the program; results on fresh seeds may change it.
        numeric: Its numeric fingerprint.
    """

    id: int
    rank: Rank
    numeric: str


def key_of(fingerprint: str, seed_set: int) -> str:
    """Return what a program is known by when it is judged on a set of seeds: each has its verdict.

    Example:
        >>> key_of("a1", 0), key_of("a1", 2)
        ('a1', 'a1@2')
    """
    return f"{fingerprint}@{seed_set}" if seed_set else fingerprint


def seed_set_of(key: str) -> int:
    """Return the set of seeds of a key."""
    return int(key.partition("@")[2] or 0)


@dataclass(frozen=True)
class Candidate:
    """A program of a search, from its proposal to its place in the population.

    Args:
        number: Its position in the run.
        text: The program's text, with its dead statements.
        fingerprint: Fingerprint of what the program computes, with the set of seeds that it is
            judged on (:func:`key_of`).
        phase: The phase it belongs to.
        parent: Number of its parent; None for the start of a phase.
        mutation: Description of the change to the parent.
        new: Whether it is judged with its batch; otherwise its verdict is already known.
        standing: The part of its verdict that is kept; None before it has one.
    """

    number: int
    text: str
    fingerprint: str
    phase: str
    parent: int | None = None
    mutation: str = ""
    new: bool = True
    standing: Standing | None = None

    @cached_property
    def genome(self) -> Genome:
        """The program with its analysis; parsed only on demand."""
        return recall(self.text)

    @property
    def program(self) -> Program:
        """The program."""
        return self.genome.program

    @property
    def rank(self) -> Rank:
        """The sort key: better candidates first, those without a verdict last."""
        return _LAST if self.standing is None else self.standing.rank

    @property
    def fitness(self) -> float:
        """Mean log ratio to the baseline; infinite if it was rejected or has no verdict."""
        return self.rank[2] if self.rank[0] == 0.0 else math.inf

    @property
    def seed_set(self) -> int:
        """The set of seeds that it is judged on."""
        return seed_set_of(self.fingerprint)

    def proposal(self, batch: int, verdict: int) -> Proposal:
        """Return the candidate as a row of the journal."""
        return Proposal(
            number=self.number,
            batch=batch,
            phase=self.phase,
            parent=self.parent,
            mutation=self.mutation,
            program=self.text,
            fingerprint=self.fingerprint,
            verdict=verdict,
            cached=not self.new,
        )

    @classmethod
    def read(cls, row: Proposal) -> Candidate:
        """Build a candidate from a row of the journal."""
        return cls(
            number=row.number,
            text=row.program,
            fingerprint=row.fingerprint,
            phase=row.phase,
            parent=row.parent,
            mutation=row.mutation,
            new=not row.cached,
        )


@dataclass
class DrawnBatch:
    """Candidates that are drawn, judged and committed together.

    Args:
        number: Number of the batch.
        first: Number of its first candidate.
        size: Number of new candidates at which the batch is full.
        most: Number of candidates, known or new, at which the batch is full even if few are new.
        start: The start of a phase, in this batch or one in flight, that has no verdict yet. Until
            it has one, the population consists of its copies. None if there is none.
        seed_set: Set of seeds on which its candidates are judged.
        on_their_way: Fingerprints being judged by this batch or by one in flight.
    """

    number: int
    first: int
    size: int
    most: int
    start: Candidate | None = None
    on_their_way: set[str] = field(default_factory=set)
    seed_set: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    new: set[str] = field(default_factory=set)  # fingerprints to be judged
    mismatches: list[str] = field(default_factory=list)  # fingerprints with other numbers
    unknown: set[str] = field(default_factory=set)  # looked up, of nothing judged or on its way

    def add(self, candidate: Candidate) -> None:
        """Add the next candidate."""
        self.candidates.append(candidate)
        if candidate.parent is None:
            self.start = candidate
        if candidate.new:
            self.new.add(candidate.fingerprint)
            self.on_their_way.add(candidate.fingerprint)
            self.unknown.discard(candidate.fingerprint)

    @property
    def next_number(self) -> int:
        """The number of the next candidate."""
        return self.first + len(self.candidates)

    @property
    def is_full(self) -> bool:
        """Whether the batch takes no more candidates."""
        return len(self.new) >= self.size or len(self.candidates) >= self.most

    @property
    def own_start(self) -> Candidate | None:
        """The start of a phase or restart that opens the batch; None in most batches."""
        first = self.candidates[0] if self.candidates else None
        return first if first is not None and first.parent is None else None
