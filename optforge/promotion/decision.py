"""Who is promoted: paired tests over several looks, corrected for looks and candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy import ndarray
from scipy import special

from optforge.ablation.decision import paired
from optforge.statistics import Interval, holm, paired_interval

PROMOTED, DROPPED, OPEN = "promoted", "dropped", "open"


@dataclass(frozen=True)
class CandidateStanding:
    """What the looks so far say of one candidate.

    Args:
        outcome: ``promoted``, ``dropped`` or ``open``.
        effect: Mean of its log loss over the baseline's, with its 95 % interval.
        p_value: One-sided p-value of "it is no better", corrected for the number of candidates.
        seeds: Number of seeds it rests on.
    """

    outcome: str
    effect: Interval
    p_value: float
    seeds: int


def judge(
    baseline: ndarray,
    logs: Sequence[ndarray | None],
    looks: Sequence[int],
    alpha: float,
    before: Sequence[CandidateStanding],
) -> list[CandidateStanding]:
    r"""Decide after a look, from log losses on the same seeds.

    A candidate is promoted if its one-sided paired p-value, corrected by Holm's method for all
    candidates of the stage, is at most :math:`\alpha / L` with :math:`L` looks. So the chance that
    any candidate is promoted which is no better than the baseline is at most :math:`\alpha`. It is
    dropped at the last look, and earlier if it is hopeless: if even with a mean that is one
    standard error better than measured, the last look would not reach :math:`\alpha`; or if its
    training failed on a seed on which the baseline's did not.

    Args:
        baseline: Log losses of the baseline, float64 ``[seeds]``.
        logs: Those of each candidate on the same seeds; None for what was decided before.
        looks: Numbers of seeds of all looks.
        alpha: Chance of any wrong promotion in the stage.
        before: Judgements at the last look, or none before the first.

    Returns:
        A judgement for each candidate.

    Example:
        >>> noise = numpy.random.default_rng(0).normal(0, 0.01, (3, 6))
        >>> rows = [noise[1] - 0.3, noise[2] + 0.3]
        >>> [j.outcome for j in judge(noise[0], rows, (6, 12), 0.05, [])]
        ['promoted', 'dropped']

    Source: Holm, 1979; alpha shared among looks as in Bonferroni's correction.
    """
    measured = [None if row is None else paired(baseline[None], row[None]) for row in logs]
    effects = [
        before[n].effect if pair is None else paired_interval(pair[0][0])
        for n, pair in enumerate(measured)
    ]
    p_values = [
        before[n].p_value if pair is None else 1.0 if pair[1] else _one_sided(effects[n])
        for n, pair in enumerate(measured)
    ]
    dropped = [bool(before) and before[n].outcome == DROPPED for n in range(len(logs))]
    corrected = holm(numpy.where(dropped, 1.0, p_values)).tolist()
    is_last = len(baseline) >= looks[-1]
    judgements = []
    for n, pair in enumerate(measured):
        if pair is None:
            judgements.append(before[n])
            continue
        (differences,), failures = pair
        if corrected[n] <= alpha / len(looks):
            outcome = PROMOTED
        else:
            hopeless = is_last or failures or _is_hopeless(differences, looks[-1], alpha)
            outcome = DROPPED if hopeless else OPEN
        judgements.append(CandidateStanding(outcome, effects[n], corrected[n], len(baseline)))
    return judgements


def _one_sided(effect: Interval) -> float:
    """Return the p-value of "the mean is not below zero"."""
    return effect.p_value / 2 if effect.mean < 0 else 1 - effect.p_value / 2


def _is_hopeless(differences: ndarray, seeds: int, alpha: float) -> bool:
    """Return whether the last look would fail even if the mean is a standard error better."""
    deviation = float(differences.std(ddof=1))
    if deviation == 0:
        return bool(differences.mean() >= 0)
    optimistic = float(differences.mean()) - deviation / len(differences) ** 0.5
    t = optimistic / (deviation / seeds**0.5)
    return float(special.stdtr(seeds - 1, t)) > alpha
