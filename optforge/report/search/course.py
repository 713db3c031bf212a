"""The course of a search as numbers to draw, read once from the journal."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from optforge.evolution.overfitting import KIND as VALIDATE
from optforge.evolution.overfitting import Validation, overfitted_ranges
from optforge.runs import Journal, Verdict
from optforge.statistics import mean_interval_over_tasks

JUDGED = "judged"
_BINS = 80
# Columns of the journal that are read, each after the key of its table.
_VERDICT = "fingerprint", "stage_name", "fitness", "state_bytes", "live_statements", "seconds"
_PROPOSAL = "batch", "phase", "parent", "verdict", "cached"


@dataclass(frozen=True)
class Leader:
    """A leading program on fresh seeds.

    Args:
        number: Last proposal of the batch with which it was re-scored.
        fingerprint: Fingerprint of the program.
        fitness: Fitness in the search; the best of many, so partly luck.
        fresh: Fitness on the fresh seeds.
        half: Half the length of the 95 % interval of ``fresh``; infinite if unknown.
    """

    number: int
    fingerprint: str
    fitness: float
    fresh: float
    half: float


@dataclass
class Course:
    """The course of a search as numbers to draw, read from the journal.

    Args:
        cached: Whether the verdict was already known, for each proposal.
        phases: Name, first and last proposal, proposals and values of the running best.
        judged: Proposal number and fitness of each full verdict.
        rescored: The leaders that were trained on fresh seeds.
        validations: The incumbents on larger tasks.
        overfitted: First and last proposal of each stretch of meta-overfitting.
        stages: Number of new programs that ended at each stage.
        seconds: Seconds of training, over all workers.
        parents: Parent of each proposal; None for a warm start or a restart.
        verdicts: Id of the verdict of each proposal.
        fitness: Fitness by id of the verdict.
        ids: Id of the verdict by fingerprint.
        fittest: Id of the verdict of lowest fitness, by state bytes and number of statements.
    """

    cached: list[bool] = field(default_factory=list)
    phases: list[tuple[str, int, list[int], list[float]]] = field(default_factory=list)
    judged: list[tuple[int, float]] = field(default_factory=list)
    rescored: list[Leader] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    overfitted: list[tuple[int, int]] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    parents: list[int | None] = field(default_factory=list)
    verdicts: list[int | None] = field(default_factory=list)
    fitness: dict[int, float] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    fittest: dict[tuple[float, int], int] = field(default_factory=dict)

    @property
    def best_leader(self) -> Leader | None:
        """The best leader on fresh seeds; None before any was trained on some."""
        finite = (leader for leader in self.rescored if math.isfinite(leader.fresh))
        return min(finite, key=lambda leader: leader.fresh, default=None)

    @property
    def validated(self) -> list[tuple[int, float]]:
        """Proposal number, and log loss on larger tasks over that of the first incumbent."""
        return [(v.at, v.loss - self.validations[0].loss) for v in self.validations]


def read_course(journal: Journal) -> Course:
    """Read a journal once, in the order of the search; of its rows only what is drawn."""
    course, ends = Course(), {}
    with journal.content():
        for row in journal.columns("verdicts", "id", *_VERDICT):
            _count(course, row)
        for row in journal.columns("proposals", "number", *_PROPOSAL):
            _follow(course, row)
            ends[row[1]] = row[0]
    repeats = journal.settings.get("search", {}).get("rescore_repeats", 1)
    for event in (event for event in journal.events("rescore") if event.batch in ends):
        place = course.ids.get(event.detail["fingerprint"])
        verdict = None if place is None else journal.verdict(place)
        course.rescored.append(_leader(ends[event.batch], event.detail, verdict, repeats))
    course.validations = [Validation.read(event.detail) for event in journal.events(VALIDATE)]
    course.overfitted = overfitted_ranges(course.validations)
    return course


def _count(course: Course, row: Sequence[Any]) -> None:
    id, fingerprint, stage, fitness, state_bytes, statements, seconds = row
    fitness = float(fitness)  # NaN is stored as a text
    course.fitness[id] = fitness
    course.ids[fingerprint] = id
    if math.isfinite(fitness):
        size = float(state_bytes), statements
        if fitness < course.fitness[course.fittest.setdefault(size, id)]:
            course.fittest[size] = id
    course.stages[stage.split(":")[0]] += 1
    course.seconds += float(seconds)


def _follow(course: Course, row: Sequence[Any]) -> None:
    number, _, phase, parent, verdict, cached = row
    value = math.inf if verdict is None else course.fitness.get(verdict, math.inf)
    if not course.phases or course.phases[-1][0] != phase:
        course.phases.append((phase, number, [], []))
    numbers, best = course.phases[-1][2:]
    if math.isfinite(value):
        if not best or value < best[-1]:
            numbers.append(number)
            best.append(value)
        if not cached:
            course.judged.append((number, value))
    course.cached.append(bool(cached))
    course.parents.append(parent)
    course.verdicts.append(verdict)


def _leader(
    number: int, detail: Mapping[str, Any], verdict: Verdict | None, repeats: int
) -> Leader:
    """Return a leader whose interval has the spread between seeds that it showed in the search.

    The journal holds the mean over the fresh seeds alone.
    """
    half = math.inf
    rows = list(verdict.scores.values()) if verdict else []
    if rows and math.isfinite(verdict.fitness if verdict else math.inf):
        interval = mean_interval_over_tasks(rows)
        half = (interval.high - interval.mean) * math.sqrt(len(rows[0]) / repeats)
    fitness = verdict.fitness if verdict else math.inf
    return Leader(number, detail["fingerprint"], fitness, detail["fitness"], half)


def value_range(course: Course) -> tuple[float, float] | None:
    """Return the values to show: the best and the re-scored in full, without the worst judged ones.

    The warm start is far above everything that follows, which would look like a flat line. None
    if there is nothing to show.
    """
    early = len(course.cached) / 100
    values = [
        value
        for *_, numbers, best in course.phases
        for number, value in zip(numbers, best, strict=True)
        if number >= early or value == best[-1]
    ]
    values += [r.fresh for r in course.rescored if math.isfinite(r.fresh)]
    if (best := course.best_leader) is not None and math.isfinite(best.half):
        values += [best.fresh - best.half, best.fresh + best.half]
    values += [v for _, v in course.validated if math.isfinite(v)]
    if not values:
        return None
    values.append(0.0)
    judged = [value for _, value in course.judged]
    top = max(*values, float(numpy.quantile(judged, 0.5)) if judged else 0.0)
    margin = 0.08 * (top - min(values)) or 0.1
    return min(values) - margin, top + margin


def known_shares(course: Course) -> tuple[list[int], list[float]]:
    """Return edges of stretches of the search, and the share of known programs in each, percent."""
    bins = min(_BINS, max(1, len(course.cached) // 20))
    parts = numpy.array_split(numpy.array(course.cached, float), bins)
    edges = numpy.cumsum([0] + [len(part) for part in parts])
    return edges.tolist(), [100 * float(part.mean()) if len(part) else 0.0 for part in parts]


def stage_rows(course: Course, tasks: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Return the stages with the number of new programs that ended there; judged ones last.

    Args:
        course: Course of a search.
        tasks: Names of its tasks, in the order in which they are trained.
    """
    return in_order(course.stages.items(), tasks)


def in_order(stages: Iterable[tuple[str, int]], tasks: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Return stages with their counts in the order in which a program passes them.

    Args:
        stages: Names with counts.
        tasks: Names of the tasks, in the order in which they are trained.

    Example:
        >>> in_order([("judged", 1), ("b, repeat 0", 2), ("a, repeat 0", 3), ("probe", 4)], "ab")
        [('probe', 4), ('a, repeat 0', 3), ('b, repeat 0', 2), ('judged', 1)]
    """
    places = {task: place for place, task in enumerate(tasks)}

    def place(stage: tuple[str, int]) -> tuple[bool, int, int]:
        task, _, seeds = stage[0].rpartition(", repeat")
        first = re.search(r"\d+", seeds) if task else None
        number = int(first[0]) if first else -1
        return stage[0] == JUDGED, number, places.get(task, len(places))

    return sorted(stages, key=place)
