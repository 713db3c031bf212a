"""A program on its way through a search, and batches of them."""

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
    """What a search keeps of a verdict.

    Args:
        id: Of the verdict in the journal.
        rank: Of the program; fresh seeds may change it.
        numeric: Its numeric fingerprint.
    """

    id: int
    rank: Rank
    numeric: str


@dataclass(frozen=True)
class Candidate:
    """A program of a search: proposed, judged, in the population, among the best.

    Args:
        number: Its place in the run.
        text: The program, dead statements included.
        fingerprint: What it computes.
        phase: The phase that it belongs to.
        parent: Number of its parent; None for the start of a phase.
        mutation: What was done to the parent.
        new: Whether it is judged with its batch; otherwise its verdict is known.
        standing: What is kept of its verdict; None before it has one.
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
        """The program with what is known of it; parsed only where that is asked for."""
        return recall(self.text)

    @property
    def program(self) -> Program:
        """The program."""
        return self.genome.program

    @property
    def rank(self) -> Rank:
        """The key that sorts better candidates first; the last of all without a verdict."""
        return _LAST if self.standing is None else self.standing.rank

    @property
    def fitness(self) -> float:
        """Mean log ratio to the baseline; infinite if it was rejected or has no verdict."""
        return self.rank[2] if self.rank[0] == 0.0 else math.inf

    def proposal(self, batch: int, verdict: int) -> Proposal:
        """Return the row of the journal."""
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
        """Return the candidate of a row of the journal."""
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
    """Candidates that are drawn together, judged together and committed together.

    Args:
        number: Of the batch.
        first: Number of its first candidate.
        size: Candidates to be judged at which it is full.
        most: Candidates at which it is full, when nearly all that is drawn is known.
        start: The start of a phase that has no verdict yet, of this batch or of one in flight; the
            population is its copies meanwhile. None if there is none.
        on_their_way: Fingerprints that this batch or one in flight judges.
    """

    number: int
    first: int
    size: int
    most: int
    start: Candidate | None = None
    on_their_way: set[str] = field(default_factory=set)
    candidates: list[Candidate] = field(default_factory=list)
    new: set[str] = field(default_factory=set)  # fingerprints to be judged
    mismatches: list[str] = field(default_factory=list)  # fingerprints with other numbers

    def add(self, candidate: Candidate) -> None:
        """Take in the next candidate."""
        self.candidates.append(candidate)
        if candidate.parent is None:
            self.start = candidate
        if candidate.new:
            self.new.add(candidate.fingerprint)
            self.on_their_way.add(candidate.fingerprint)

    @property
    def next_number(self) -> int:
        """The number of the next candidate."""
        return self.first + len(self.candidates)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is drawn for it."""
        return len(self.new) >= self.size or len(self.candidates) >= self.most

    @property
    def own_start(self) -> Candidate | None:
        """The start of a phase or a restart, with which the batch begins; None in most."""
        first = self.candidates[0] if self.candidates else None
        return first if first is not None and first.parent is None else None
