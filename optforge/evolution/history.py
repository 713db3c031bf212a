"""The state of a search after a number of committed batches: a function of the journal alone."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optforge.evolution.population import Individual, Population
from optforge.evolution.settings import Settings
from optforge.fitness import JUDGED, Rank, rank
from optforge.runs import Event, Proposal, Verdict

_BEST = 64  # how many of the best are kept for re-scoring
_ELITE = 16  # how many of them set the hurdles


@dataclass(frozen=True)
class Known:
    """What is kept of a verdict for the rest of the run."""

    id: int
    rank: Rank
    numeric: str


@dataclass(frozen=True)
class Candidate:
    """A fully judged program among the best of a phase."""

    fitness: float
    fingerprint: str
    text: str
    phase: str


@dataclass
class Tally:
    """Counts for the display and the report."""

    proposals: int = 0
    cached: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    audited: int = 0
    false_rejects: int = 0
    same_numbers: int = 0
    mismatches: int = 0
    training_seconds: float = 0.0
    restarts: int = 0

    @property
    def evaluated(self) -> int:
        """New fingerprints that were evaluated."""
        return sum(self.stages.values())

    @property
    def judged(self) -> int:
        """Full verdicts."""
        return self.stages[JUDGED]

    def plain(self) -> dict[str, Any]:
        """Give plain values for the report."""
        rejected = stage_counts(self.stages)
        rejected.pop(JUDGED, None)
        return {
            "programs": self.proposals,
            "new": self.evaluated,
            "judged": self.judged,
            "rejected": rejected,
            "audited": self.audited,
            "wrongly_rejected": self.false_rejects,
            "same_fingerprint_other_numbers": self.mismatches,
            "same_numbers_other_fingerprint": self.same_numbers,
            "restarts": self.restarts,
            "training_seconds": round(self.training_seconds, 1),
        }


class History:
    """What a search knows: population, known fingerprints, the best, progress.

    Batches are applied in order, whether they come from an evaluation or from the journal of a
    run that is resumed; so both lead to the same state.

    Args:
        settings: Of the run.
        slacks: What is added to the hurdle at each position of a trace.
    """

    def __init__(self, settings: Settings, slacks: Sequence[float]) -> None:
        self.settings, self.slacks = settings, tuple(slacks)
        self.population = Population(settings.population)
        self.known: dict[str, Known] = {}
        self.traces: dict[str, tuple[float, ...]] = {}
        self.best: list[Candidate] = []
        self.rescored: dict[str, float] = {}
        self.phase = "start"
        self.phase_start = ""
        self.phase_best = math.inf
        self.phase_proposals = 0
        self.improved_at = 0
        self.next_number = 0
        self.next_verdict = 0
        self.tally = Tally()
        self._numbers: dict[str, str] = {}

    def apply(
        self,
        proposals: Sequence[Proposal],
        verdicts: Iterable[Verdict],
        events: Iterable[Event] = (),
    ) -> None:
        """Take in one batch: verdicts, then proposals in order, then events."""
        for verdict in verdicts:
            self._learn(verdict)
        for proposal in proposals:
            self._add(proposal)
        for event in events:
            if event.kind == "rescore":
                self._rescore(event.detail["fingerprint"], event.detail["fitness"])
            if event.kind == "mismatch":
                self.tally.mismatches += 1

    def leading(self, phase: str) -> list[Candidate]:
        """List the best of a phase, by their fitness in the search."""
        return [candidate for candidate in self.best if candidate.phase == phase]

    def incumbent(self, phase: str) -> Candidate | None:
        """Give the best program of a phase: by its re-scored value where there is one."""
        ours = self.leading(phase)
        scored = [c for c in ours if math.isfinite(self.rescored.get(c.fingerprint, math.inf))]
        if scored:
            return min(scored, key=lambda c: self.rescored[c.fingerprint])
        return ours[0] if ours else None

    def hurdles(self, start: str | None = None) -> tuple[float, ...]:
        """Give for each position of a trace the value that a candidate must reach.

        It is a quantile of what the best programs of the phase had at this position, and the
        slack of the position. It tightens as the search goes on; what is rejected still takes
        part in tournaments, below all that is not.

        Args:
            start: Fingerprint of a start in flight, whose copies are the population.
        """
        best = [c.fingerprint for c in self.leading(self.phase)[:_ELITE]]
        traces = [self.traces[f] for f in ([start] if start else best) if f in self.traces]
        if not traces:
            return ()
        columns = zip(zip(*traces, strict=True), self.slacks, strict=True)
        return tuple(
            _quantile(sorted(column), self.settings.hurdle) + slack for column, slack in columns
        )

    def _rescore(self, value: str, fresh: float) -> None:
        """Pool the fitness of a program with its value on fresh seeds, each seed counting alike.

        The best of many is always a lucky one; so it keeps its place only if it is also good. One
        that fails on fresh seeds is not among the best any more.
        """
        self.rescored[value] = fresh
        old, settings = self.known[value], self.settings
        seeds = settings.seeds + settings.rescore_repeats
        pooled = (settings.seeds * old.rank[2] + settings.rescore_repeats * fresh) / seeds
        new = rank(pooled, 0, pooled, old.rank[3], int(old.rank[4]))
        self.known[value] = replace(old, rank=new)
        self.population.rerank(value, new)
        best = [replace(c, fitness=pooled) if c.fingerprint == value else c for c in self.best]
        self.best = sorted((c for c in best if math.isfinite(c.fitness)), key=lambda c: c.fitness)
        ours = self.leading(self.phase)
        self.phase_best = ours[0].fitness if ours else self.phase_best

    def _learn(self, verdict: Verdict) -> None:
        key = rank(
            verdict.fitness,
            verdict.stage,
            verdict.loss,
            verdict.state_bytes,
            verdict.live_statements,
        )
        self.known[verdict.fingerprint] = Known(verdict.id, key, verdict.numeric_fingerprint)
        self.next_verdict = max(self.next_verdict, verdict.id + 1)
        if math.isfinite(verdict.fitness):
            self.traces[verdict.fingerprint] = tuple(verdict.trace)
        self._count(verdict)

    def _count(self, verdict: Verdict) -> None:
        tally = self.tally
        tally.stages[verdict.stage_name] += 1
        tally.training_seconds += verdict.seconds
        first = self._numbers.setdefault(verdict.numeric_fingerprint, verdict.fingerprint)
        tally.same_numbers += first != verdict.fingerprint
        if verdict.audit_fitness is not None:
            tally.audited += 1
            best = self.leading(self.phase)[:_ELITE]
            tally.false_rejects += bool(best) and verdict.audit_fitness < best[-1].fitness

    def _add(self, proposal: Proposal) -> None:
        known = self.known[proposal.fingerprint]
        individual = Individual(proposal.number, proposal.program, proposal.fingerprint, known.rank)
        self.next_number = proposal.number + 1
        self.tally.proposals += 1
        self.tally.cached += proposal.cached
        if proposal.parent is None:
            self._begin(proposal, individual)
        else:
            self.population.add(individual)
        self.phase_proposals += 1
        if known.rank[0] == 0.0:
            self._compete(proposal, known.rank[2])

    def _begin(self, proposal: Proposal, individual: Individual) -> None:
        """Start a phase or restart it: the whole population becomes one program."""
        self.population.restart(individual)
        restart = proposal.mutation.startswith("restart")
        if proposal.phase != self.phase:
            self.phase, self.phase_best, self.phase_proposals = proposal.phase, math.inf, 0
        self.phase_start = self.phase_start if restart else proposal.program
        self.tally.restarts += restart
        self.improved_at = self.phase_proposals

    def _compete(self, proposal: Proposal, fitness: float) -> None:
        if fitness < self.phase_best:
            self.phase_best = fitness
            self.improved_at = self.phase_proposals
        ours = self.leading(self.phase)
        if any(c.fingerprint == proposal.fingerprint for c in ours):
            return
        if len(ours) >= _BEST and fitness >= ours[-1].fitness:
            return
        entry = Candidate(fitness, proposal.fingerprint, proposal.program, self.phase)
        others = [c for c in self.best if c.phase != self.phase]
        self.best = others + heapq.nsmallest(_BEST, [*ours, entry], key=lambda c: c.fitness)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def stage_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Sum rejections of the probe, for displays that want one line for it."""
    merged: Counter[str] = Counter()
    for name, count in counts.items():
        merged[name.split(":")[0]] += count
    return dict(merged)
