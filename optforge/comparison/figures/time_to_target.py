"""The second ruleset: time to a target, scored as the AlgoPerf benchmark does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optforge.comparison.cells.cell import CellResult
from optforge.comparison.figures.arrivals import arrival, arrival_seconds
from optforge.comparison.result import Findings

LARGEST_RATIO = 4.0


@dataclass(frozen=True)
class Scores:
    """Times, profiles and scores of all recipes.

    Args:
        unit: ``seconds`` of training or ``steps``.
        times: Time by recipe and task; infinite where the median study misses the target.
        profiles: Points of each recipe's profile: ratio, and share of tasks within that ratio of
            the fastest.
        scores: Area under each recipe's profile from 1 to 4, as a share of the largest possible.
    """

    unit: str
    times: Mapping[str, Mapping[str, float]]
    profiles: Mapping[str, tuple[tuple[float, float], ...]]
    scores: Mapping[str, float]


def score_findings(findings: Findings, unit: str = "seconds") -> Scores | None:
    """Score a comparison that has studies; None if it has none.

    Trials without a result are left out, and a task on which an optimizer has only such trials is
    left out for all. So a miss always means a run that trained to its end without reaching the
    target.
    """
    measure = arrival_seconds if unit == "seconds" else arrival
    times: dict[str, dict[str, float]] = {}
    for result in findings.tasks:
        rows = {
            name: _known(tuned.studies) for name, tuned in result.tuned.items() if tuned.studies
        }
        for name, studies in rows.items() if all(rows.values()) else ():
            taken = [[measure(o, result.target) for o in study] for study in studies]
            times.setdefault(name, {})[result.variant.label] = time_to_target(taken)
    return score_times(times, unit) if times else None


def _known(studies: Sequence[Sequence[CellResult]]) -> list[list[CellResult]]:
    kept = [[outcome for outcome in study if not outcome.failed] for study in studies]
    return [study for study in kept if study]


def time_to_target(studies: Sequence[Sequence[float]]) -> float:
    """Return the median over studies of each study's fastest trial.

    Args:
        studies: Times of the trials of each study; infinite where the target was missed.

    Example:
        >>> time_to_target([[3.0, 2.0], [math.inf, 9.0], [math.inf, math.inf]])
        9.0
    """
    return statistics.median([min(trials) for trials in studies])


def score_times(times: Mapping[str, Mapping[str, float]], unit: str = "seconds") -> Scores:
    r"""Compute performance profiles and their areas.

    With the time :math:`t_{s,w}` of recipe s on task w, :math:`r_{s,w} = t_{s,w} / \min_s t_{s,w}`
    (infinite where a target is missed), the profile is
    :math:`\rho_s(\tau) = |\{w: r_{s,w} \le \tau\}| / |W|`, and the score
    :math:`\frac{1}{4 - 1} \int_1^4 \rho_s(\tau)\, d\tau`.

    Example:
        >>> scores = score_times({"a": {"w": 1.0}, "b": {"w": 2.5}}).scores
        >>> scores["a"], scores["b"]
        (1.0, 0.5)

    Source: Dahl et al., Benchmarking Neural Network Training Algorithms, 2023 (AlgoPerf);
        Dolan and More, Benchmarking optimization software with performance profiles, 2002.
    """
    tasks = sorted({task for by_task in times.values() for task in by_task})
    fastest = {
        task: min(by_task.get(task, math.inf) for by_task in times.values()) for task in tasks
    }
    profiles, scores = {}, {}
    for name, by_task in times.items():
        ratios = sorted(_ratio(by_task.get(task, math.inf), fastest[task]) for task in tasks)
        profiles[name] = _profile(ratios)
        areas = [max(0.0, LARGEST_RATIO - r) for r in ratios]
        scores[name] = sum(areas) / (len(tasks) * (LARGEST_RATIO - 1))
    return Scores(unit, times, profiles, scores)


def _ratio(time: float, fastest: float) -> float:
    if not math.isfinite(time):
        return math.inf
    return time / fastest if fastest > 0 else 1.0


def _profile(ratios: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the corners of a profile, a step function from 1 to the largest ratio."""
    inside = [r for r in ratios if r <= LARGEST_RATIO]
    points = [(1.0, sum(r <= 1.0 for r in ratios) / len(ratios))]
    points += [(r, sum(x <= r for x in ratios) / len(ratios)) for r in inside if r > 1.0]
    return (*points, (LARGEST_RATIO, points[-1][1]))
