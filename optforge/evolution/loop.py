"""Regularized evolution over programs: select, mutate, judge, commit.

Keeping all workers busy, and resuming, is the task of ``pipeline.py``.

Source: "Symbolic Discovery of Optimization Algorithms", section 2.2, after Real et al.,
"Regularized Evolution for Image Classifier Architecture Search", 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from random import Random

from optforge.analysis import numeric_fingerprint, wide_updates
from optforge.errors import SearchError
from optforge.evolution.candidate import Candidate, DrawnBatch, key_of
from optforge.evolution.genome import Genome, recall
from optforge.evolution.history import History
from optforge.evolution.pipeline import JudgedBatch, Pipeline
from optforge.evolution.rescale import Yardstick
from optforge.evolution.rescore import Rescorer
from optforge.evolution.starts import Start, Starts
from optforge.evolution.twins import Twins
from optforge.evolution.validation import Validator
from optforge.evolution.variation import Variation
from optforge.jobs import JobRunner
from optforge.language import parse, round_constants

_AGAIN = 8  # of the best, judged on other seeds with a restart
_PROPOSALS = 16  # at most this many times the size of a batch, when nearly all is known


class Search:
    """A search over one journal; its history does not depend on the workers.

    Args:
        history: History without batches; it has the settings of the run.
        runner: Runs the jobs; committed batches of its journal are replayed first.
        rescorer: Measures the leaders on fresh seeds.
        yardstick: Measures the sizes of updates; without it no child is rescaled.
        validator: Measures incumbents on larger tasks; without it there are none.
        recheck: Share of known programs whose numeric fingerprint is computed again.

    Raises:
        SearchError: If the runner has no journal.
    """

    def __init__(
        self,
        history: History,
        runner: JobRunner,
        rescorer: Rescorer,
        yardstick: Yardstick | None = None,
        validator: Validator | None = None,
        recheck: float = 0.01,
    ) -> None:
        if runner.journal is None:
            raise SearchError("a search keeps its state in a journal; give its runner one")
        self.settings, self.journal, self.recheck = history.settings, runner.journal, recheck
        self.history = history
        validator = validator or Validator({}, 0.0, 0.0)
        self.pipeline = Pipeline(history, runner, self.journal, rescorer, validator)
        self.starts = Starts(self.settings, history)
        self.variation = Variation(self.settings, yardstick)
        self.twins = Twins(history.known)
        self.first_own: int | None = None  # number of this session's first verdict

    def run(
        self,
        stop: Callable[[History], bool] = lambda history: False,
        watch: Callable[[History], None] = lambda history: None,
    ) -> History:
        """Search until the runner or ``stop`` ends it.

        Args:
            stop: Called after every committed batch and while waiting; True ends the search.
            watch: Called with the history after every batch and now and then while waiting.

        Returns:
            The history of all committed batches.
        """
        for batch in self.pipeline.judge(self.draw, stop, watch):
            self.commit(batch)
        return self.history

    def draw(self, number: int) -> DrawnBatch:
        """Select and mutate until a batch is full."""
        if self.first_own is None:
            self.first_own = self.history.next_verdict + len(self.pipeline.candidates)
        random, batch = Random(f"{self.settings.seed}|{number}"), self._begin(number)
        while not batch.is_full:
            parent = self.select(batch, random)
            batch.add(self.mutate(parent, batch, random))
        return batch

    def select(self, batch: DrawnBatch, random: Random) -> Candidate:
        """Return the best of a few members of the population, drawn at random (a tournament)."""
        if batch.start is not None:  # until it has its verdict, the population is its copies
            return batch.start
        if self.history.phase == "random":  # no selection
            warm_start = self.starts.warm_start
            return Candidate(0, warm_start.program.text, warm_start.fingerprint, "random")
        return self.history.population.parent(self.settings.tournament, random)

    def mutate(self, parent: Candidate, batch: DrawnBatch, random: Random) -> Candidate:
        """Mutate a program once; a child that computes what is already known needs no verdict."""
        child, mutation = self.variation.child(
            parent.genome,
            parent.phase,
            random,
            lambda value: self.is_new(_key(value, batch), batch),
        )
        candidate = self._propose(batch, child, parent.phase, parent.number, mutation)
        if not candidate.new and random.random() < self.recheck and self._differs(child, batch):
            batch.mismatches.append(child.fingerprint)
        return candidate

    def commit(self, batch: JudgedBatch) -> None:
        """Write a batch to the journal and add it to the population."""
        if not batch.replayed:
            self.journal.commit(batch.number, batch.rows(), batch.verdicts, batch.events)
        with self.journal.content() if batch.replayed else nullcontext():
            self.history.apply(batch.candidates, batch.verdicts, batch.events)

    def is_new(self, fingerprint: str, batch: DrawnBatch) -> bool:
        """Return whether no program with this fingerprint was judged or is being judged."""
        if fingerprint in batch.unknown:
            return True
        is_new = fingerprint not in batch.on_their_way and fingerprint not in self.history.known
        if is_new:
            batch.unknown.add(fingerprint)
        return is_new

    @property
    def stopped(self) -> bool:
        """Whether the runner ended the search, by a stop or a deadline."""
        return self.pipeline.stopped

    @property
    def replaying(self) -> bool:
        """Whether batches are still being read from the journal."""
        return self.pipeline.replaying

    def _begin(self, number: int) -> DrawnBatch:
        """Open a batch, with the start of a phase or a restart if one is due.

        Batch 0 holds the warm start and the suggestions of the settings, as the reference for all
        others.
        """
        size, flights = self.settings.batch, self.pipeline
        batch = DrawnBatch(
            number, flights.drawn, size, _PROPOSALS * size, flights.start, flights.in_flight
        )
        start = self.starts.due(number, batch.start is not None)
        batch.seed_set = (start or batch.start or self.history).seed_set
        if self._by_numbers:
            self.twins = Twins(self.history.known, flights.candidates, batch.seed_set)
        if start is not None:
            batch.add(self._propose(batch, start.genome, start.phase, None, start.reason))
            if batch.candidates[0].new:  # nothing more: it is the measure of what follows
                batch.most = 0
                for genome, reason in self._beside(start, number):
                    batch.add(self._propose(batch, genome, start.phase, batch.first, reason))
        return batch

    def _beside(self, start: Start, number: int) -> list[tuple[Genome, str]]:
        """Return what is judged with a new start: what was given, or the best on other seeds."""
        if number == 0:
            suggested = dict.fromkeys(self.settings.suggestions)
            return [(recall(round_constants(parse(text))), "suggested") for text in suggested]
        if start.reason == "restart: initial":  # a course of its own
            return []
        best = self.history.confirmed(start.phase)
        others = {c.genome.fingerprint: c.genome for c in best if c.genome != start.genome}
        return [(genome, "again: other seeds") for genome in list(others.values())[:_AGAIN]]

    def _propose(
        self, batch: DrawnBatch, genome: Genome, phase: str, parent: int | None, mutation: str
    ) -> Candidate:
        text, value = genome.program.text, _key(genome.fingerprint, batch)
        new = self.is_new(value, batch)
        if new and self._by_numbers:
            twin = self.twins.of(genome)
            new, value = twin is None, twin or value
            if new:
                self.twins.add(genome)
        return Candidate(batch.next_number, text, value, phase, parent, mutation, new)

    @property
    def _by_numbers(self) -> bool:
        return self.settings.known_by == "numbers"

    def _differs(self, child: Genome, batch: DrawnBatch) -> bool:
        """Return whether a program's numbers differ from those of its known equal."""
        known = self.history.known.get(_key(child.fingerprint, batch))
        # Numbers of an earlier session may be those of another version, or another machine.
        if known is None or not known.numeric or known.id < (self.first_own or 0):
            return False
        return numeric_fingerprint(wide_updates(child.lean)) != known.numeric


def _key(fingerprint: str, batch: DrawnBatch) -> str:
    return key_of(fingerprint, batch.seed_set)
