"""Selection of the winner: the best of the search, measured again on seeds it has never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy

from optforge.analysis import cost, live_program
from optforge.assessment.speed import step_seconds
from optforge.evolution.candidate import Candidate
from optforge.evolution.history import History
from optforge.evolution.settings import Settings
from optforge.jobs import Trainer
from optforge.language import Program, parse
from optforge.statistics import mean_interval_over_tasks
from optforge.training import Trainee, trainee
from optforge.tuning import FULL, Effort

T = TypeVar("T")
# Candidates of each round, where all is tuned fully, and its share of the fresh seeds.
ROUNDS = ((32, 0.25), (8, 1.0))
LEAST_FINALISTS = 4


@dataclass(frozen=True)
class Finalist:
    """A candidate with its score on fresh seeds and validation data.

    Args:
        text: The program without its dead statements; the journal has the whole program.
        search_fitness: Its fitness by the seeds that chose it, those of the search and of the first
            round; biased towards good values by the selection.
        fitness: Mean log ratio to the baseline on the fresh seeds of the last round.
        low: Lower end of its Student-t 95 % interval, paired by seed.
        high: Upper end of that interval.
        repeats: Number of fresh seeds of each task behind ``fitness``.
        state_bytes: Bytes of state per parameter.
        live_statements: Number of statements that are not dead.
        step_seconds: Seconds of one step on a million parameters.
    """

    text: str
    search_fitness: float
    fitness: float
    low: float
    high: float
    repeats: int
    state_bytes: float
    live_statements: int
    step_seconds: float

    @property
    def program(self) -> Program:
        """The program."""
        return parse(self.text)


def select(
    trainer: Trainer,
    history: History,
    settings: Settings,
    baselines: Mapping[str, Trainee],
    effort: Effort = FULL,
) -> list[Finalist]:
    """Measure the best on fresh seeds, in rounds with fewer candidates and more seeds.

    Args:
        trainer: Trains the candidates.
        history: History of the search.
        settings: Settings of the run.
        baselines: The tuned baseline of each task.
        effort: How much everything is tuned; with less, there are fewer candidates and seeds.

    Returns:
        The finalists, best first; the first is the result of the search.
    """
    candidates = _in_turn(history.leading(history.phase) or history.best)
    scores: dict[str, list[numpy.ndarray]] = {c.fingerprint: [] for c in candidates}
    for number, (count, share) in enumerate(ROUNDS):
        repeats, left = effort.fresh(share), effort.scaled(count, LEAST_FINALISTS)
        if number:
            candidates = sorted(candidates, key=lambda c: _score(c, scores))
        candidates = candidates[:left]
        fresh = {task: trainer.seeds(task, f"select {number}", repeats) for task in settings.tasks}
        programs = [candidate.program for candidate in candidates]
        ratios = _ratios(trainer, programs, baselines, fresh)
        for candidate, row in zip(candidates, ratios, strict=True):
            scores[candidate.fingerprint].append(row)
    finalists = [
        _finalist(c, scores[c.fingerprint], _seeds_so_far(c, history, settings)) for c in candidates
    ]
    return sorted(finalists, key=lambda finalist: finalist.fitness)


def pareto(finalists: Sequence[Finalist]) -> list[Finalist]:
    """Return those that no other beats in fitness, state bytes, length and step time at once."""
    return undominated(
        finalists, lambda f: (f.fitness, f.state_bytes, f.live_statements, f.step_seconds)
    )


def undominated(items: Iterable[T], measures: Callable[[T], tuple[float, ...]]) -> list[T]:
    """Return the items that no other is at least as good as in all measures and better in one.

    Args:
        items: The items.
        measures: Returns the measures of an item; lower is better.

    Example:
        >>> undominated([(1, 4), (2, 3), (2, 5)], lambda pair: pair)
        [(1, 4), (2, 3)]
    """
    measured = [(item, measures(item)) for item in items]

    def dominated(ours: tuple[float, ...]) -> bool:
        return any(
            all(a <= b for a, b in zip(theirs, ours, strict=True)) and theirs != ours
            for _, theirs in measured
        )

    return [item for item, ours in measured if not dominated(ours)]


def _ratios(
    trainer: Trainer,
    programs: list[Program],
    baselines: Mapping[str, Trainee],
    fresh: Mapping[str, Sequence[int]],
) -> numpy.ndarray:
    """Return log ratios to the baseline, ``[programs, tasks, seeds]``."""
    chosen = {task: [*map(trainee, programs), baselines[task]] for task in fresh}
    losses = trainer.losses(chosen, fresh, "validation", "Measuring the best on fresh seeds")
    return numpy.stack([losses[task][:-1] - losses[task][-1] for task in fresh], 1)


def _in_turn(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Order candidates by fitness within each set of seeds, and take one of each set in turn.

    Values on different seeds are not compared. A program enters once.
    """
    places, first = Counter[int](), dict[str, tuple[int, float, Candidate]]()
    for candidate in sorted(candidates, key=lambda c: c.fitness):
        entry = places[candidate.seed_set], candidate.fitness, candidate
        places[candidate.seed_set] += 1
        program = candidate.genome.fingerprint
        first[program] = min(first.get(program, entry), entry, key=lambda item: item[:2])
    return [entry[2] for entry in sorted(first.values(), key=lambda item: item[:2])]


def _score(candidate: Candidate, scores: Mapping[str, list[numpy.ndarray]]) -> float:
    rounds = scores[candidate.fingerprint]
    if not rounds:
        return candidate.fitness
    return float(numpy.concatenate(rounds, 1).mean())


def _seeds_so_far(candidate: Candidate, history: History, settings: Settings) -> int:
    again = settings.rescore_repeats if candidate.fingerprint in history.rescored else 0
    return settings.seeds + again


def _finalist(candidate: Candidate, rounds: list[numpy.ndarray], seeds: int) -> Finalist:
    """Pool the seeds that chose a candidate, each with the same weight, and keep the last apart."""
    *choosing, last = rounds
    first = numpy.concatenate(choosing, 1)
    pooled = (seeds * candidate.fitness + first.shape[1] * first.mean()) / (seeds + first.shape[1])
    program = live_program(candidate.program)
    costs, interval = cost(program), mean_interval_over_tasks(last)
    return Finalist(
        program.text,
        float(pooled),
        float(last.mean()),
        interval.low,
        interval.high,
        last.shape[1],
        costs.state_bytes,
        costs.statements,
        step_seconds(program),
    )
