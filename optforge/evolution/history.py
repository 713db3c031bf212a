"""The state of a search after a number of committed batches: a function of the journal alone."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from optforge.evolution.candidate import Candidate, Standing
from optforge.evolution.known import MEMORY, KnownPrograms
from optforge.evolution.overfitting import KIND as VALIDATE
from optforge.evolution.overfitting import Validation, onset
from optforge.evolution.population import Population
from optforge.evolution.settings import Settings
from optforge.evolution.tally import Tally
from optforge.fitness import rank
from optforge.runs import Event, Verdict

_BEST = 64  # how many of the best are kept for re-scoring
_ELITE = 16  # how many of them set the hurdles


class History:
    """The state of a search: population, known fingerprints, the best programs, progress.

    Batches are applied in order, whether they come from an evaluation or from the journal of a
    run that is resumed; so both lead to the same state.

    Args:
        settings: Settings of the run.
        slacks: Amount added to the hurdle at each position of a trace.
        memory: Bound of the memory for the known programs, in bytes.
    """

    def __init__(self, settings: Settings, slacks: Sequence[float], memory: int = MEMORY) -> None:
        self.settings, self.slacks = settings, tuple(slacks)
        self.population = Population(settings.population)
        self.known = KnownPrograms(memory)
        self.best: list[Candidate] = []
        self.rescored: dict[str, float] = {}
        self.validations: list[Validation] = []
        self.overfitted: Validation | None = None  # the onset, until the search restarts there
        self.phase = "start"
        self.phase_start = ""
        self.phase_best = math.inf
        self.phase_proposals = 0
        self.improved_at = 0
        self.seed_set = 0
        self.next_number = 0
        self.next_verdict = 0
        self.tally = Tally()
        self._since = 0  # the validations of the present course
        self._confirmed = math.inf  # best on fresh seeds since the last start

    def apply(
        self,
        candidates: Sequence[Candidate],
        verdicts: Iterable[Verdict],
        events: Iterable[Event] = (),
    ) -> None:
        """Apply one batch: verdicts, then candidates in order, then events."""
        for verdict in verdicts:
            self._learn(verdict)
        for candidate in candidates:
            self._add(candidate)
        for event in events:
            if event.kind == "rescore":
                self._rescore(event.detail["fingerprint"], event.detail["fitness"])
            if event.kind == VALIDATE:
                self._validate(Validation.read(event.detail))
            if event.kind == "mismatch":
                self.tally.mismatches += 1

    def leading(self, phase: str) -> list[Candidate]:
        """Return the best programs of a phase by their fitness in the search."""
        return [candidate for candidate in self.best if candidate.phase == phase]

    @property
    def leaders(self) -> list[Candidate]:
        """The best programs of the phase on its present set of seeds."""
        return [c for c in self.leading(self.phase) if c.seed_set == self.seed_set]

    def confirmed(self, phase: str) -> list[Candidate]:
        """Return the best programs of a phase that fresh seeds have measured, the best first."""
        leading = self.leading(phase)
        rescored = [c for c in leading if math.isfinite(self.rescored.get(c.fingerprint, math.inf))]
        return sorted(rescored, key=lambda c: self.rescored[c.fingerprint])

    def incumbent(self, phase: str) -> Candidate | None:
        """Return the best program of a phase: by its re-scored value where there is one."""
        best = self.confirmed(phase) or self.leading(phase)
        return best[0] if best else None

    def hurdles(self, start: str | None = None) -> tuple[float, ...]:
        """Return the value that a candidate must reach at each position of a trace.

        It is a quantile of the values of the phase's best programs at this position, plus the slack
        of the position. It tightens as the search goes on. Rejected candidates still take part in
        tournaments, ranked below all others.

        Args:
            start: Fingerprint of a start in flight whose copies form the population.
        """
        best = [c.fingerprint for c in self.leaders[:_ELITE]]
        traces = [t for t in map(self.known.trace, [start] if start else best) if t is not None]
        if not traces:
            return ()
        columns = zip(zip(*traces, strict=True), self.slacks, strict=True)
        return tuple(
            _quantile(sorted(column), self.settings.hurdle) + slack for column, slack in columns
        )

    def _validate(self, validation: Validation) -> None:
        """Add a validation; at the onset of meta-overfitting, a new course begins."""
        self.validations.append(validation)
        begun = onset(self.validations[self._since :])
        if begun is not None:
            self.overfitted, self._since = begun, len(self.validations)
            self.tally.overfitted += 1

    def _rescore(self, fingerprint: str, fresh: float) -> None:
        """Pool the fitness of a program with its value on fresh seeds, weighting each seed equally.

        The best of many candidates is always partly lucky, so it keeps its place only if fresh
        seeds confirm it. One that fails on fresh seeds no longer counts among the best.
        """
        self.rescored[fingerprint] = fresh
        old, settings = self.known[fingerprint], self.settings
        seeds = settings.seeds + settings.rescore_repeats
        pooled = (settings.seeds * old.rank[2] + settings.rescore_repeats * fresh) / seeds
        standing = replace(old, rank=rank(pooled, 0, pooled, old.rank[3], int(old.rank[4])))
        self.known.rerank(fingerprint, standing.rank)
        self.population.rerank(fingerprint, standing)
        best = [
            replace(c, standing=standing) if c.fingerprint == fingerprint else c for c in self.best
        ]
        self.best = sorted((c for c in best if math.isfinite(c.fitness)), key=lambda c: c.fitness)
        leading = self.leaders
        self.phase_best = leading[0].fitness if leading else self.phase_best
        if fresh < self._confirmed:
            self._confirmed = fresh
            if self.settings.seed_sets > 1:
                self.improved_at = self.phase_proposals

    def _learn(self, verdict: Verdict) -> None:
        key = rank(
            verdict.fitness,
            verdict.stage,
            verdict.loss,
            verdict.state_bytes,
            verdict.live_statements,
        )
        standing = Standing(verdict.id, key, verdict.numeric_fingerprint)
        self.next_verdict = max(self.next_verdict, verdict.id + 1)
        self._count(verdict)
        judged = math.isfinite(verdict.fitness)
        self.known.add(verdict.fingerprint, standing, verdict.trace if judged else None)

    def _count(self, verdict: Verdict) -> None:
        tally = self.tally
        tally.stages[verdict.stage_name] += 1
        tally.training_seconds += verdict.seconds
        tally.steps += verdict.steps
        same = self.known.has_numbers(verdict.numeric_fingerprint, verdict.fingerprint)
        tally.same_numbers += same
        if verdict.audit_fitness is not None:
            tally.audited += 1
            best = self.leaders[:_ELITE]
            tally.false_rejects += bool(best) and verdict.audit_fitness < best[-1].fitness

    def _add(self, candidate: Candidate) -> None:
        candidate = replace(candidate, standing=self.known[candidate.fingerprint])
        self.next_number = candidate.number + 1
        self.tally.proposals += 1
        self.tally.cached += not candidate.new
        if candidate.parent is None:
            self._begin(candidate)
        else:
            self.population.add(candidate)
        self.phase_proposals += 1
        if math.isfinite(candidate.fitness):
            self._compete(candidate)

    def _begin(self, start: Candidate) -> None:
        """Start a phase or restart it: fill the whole population with one program."""
        self.population.restart(start)
        restart = start.mutation.startswith("restart")
        if start.phase != self.phase:
            self.phase, self.phase_best, self.phase_proposals = start.phase, math.inf, 0
        self.phase_start = self.phase_start if restart else start.text
        self.tally.restarts += restart
        if start.seed_set != self.seed_set:
            self.seed_set, self.phase_best = start.seed_set, math.inf
        self._confirmed = math.inf
        self.overfitted = None
        self.improved_at = self.phase_proposals

    def _compete(self, candidate: Candidate) -> None:
        """Enter a judged candidate into the ranking of the phase's best."""
        if candidate.fitness < self.phase_best:
            self.phase_best = candidate.fitness
            if self.settings.seed_sets == 1:
                self.improved_at = self.phase_proposals
        leading = self.leaders
        if any(c.fingerprint == candidate.fingerprint for c in leading):
            return
        if len(leading) >= _BEST and candidate.fitness >= leading[-1].fitness:
            return
        ours = {c.number for c in leading}
        others = [c for c in self.best if c.number not in ours]
        self.best = others + heapq.nsmallest(_BEST, [*leading, candidate], key=lambda c: c.fitness)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
