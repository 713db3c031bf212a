"""How much a difference depends on the luck of the tuning, from the trials already run.

Intervals over fresh seeds hold for the chosen settings. Another draw of the same number of trials
would have chosen others. With a dozen trials in four dimensions, that moves losses by more than
seeds do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optforge.comparison.result import Findings, TaskResult, Trial, score

_LEAST = 4  # trials; half of fewer is no search


@dataclass(frozen=True)
class Halves:
    """One optimizer against the baseline, each tuned by a random half of its first trials.

    Args:
        task: Label of the task.
        recipe: Name of the recipe.
        baseline: Name of the baseline.
        middle: Median over all pairs of halves of the difference of the best scores, by default the
            log ratio of validation losses on the tuning seeds; below 0 the optimizer is better.
        low: The 2.5th percentile.
        high: The 97.5th percentile.
        ahead: Share of the pairs in which the optimizer is better; a tie counts half.
    """

    task: str
    recipe: str
    baseline: str
    middle: float
    low: float
    high: float
    ahead: float


def compare_halves(findings: Findings) -> list[Halves]:
    """Compare every optimizer with the baseline, each tuned by random halves of its trials.

    Args:
        findings: Results of a finished comparison.

    Source: the distribution is that of Dodge et al., Show Your Work, 2019.
    """
    each = [_halves(task, findings) for task in findings.tasks]
    return [halves for of_task in each for halves in of_task]


def _halves(result: TaskResult, findings: Findings) -> list[Halves]:
    base = result.tuned[findings.baseline].trials
    rows = []
    for name, tuned in result.tuned.items():
        distribution = None if name == findings.baseline else differences(
            tuned.trials, base, findings.objective
        )  # fmt: skip
        if distribution is not None:
            rows.append(Halves(result.variant.label, name, findings.baseline, *distribution))
    return rows


def differences(
    trials: Sequence[Trial], others: Sequence[Trial], objective: str = "loss"
) -> tuple[float, float, float, float] | None:
    """Compute the exact distribution of the difference between the best of random halves.

    Args:
        trials: Trials of one optimizer.
        others: Trials of the optimizer it is compared with.
        objective: ``loss`` or ``metric``.

    Returns:
        Median, 2.5th and 97.5th percentile, and the share below 0; None with fewer than four
        trials. Trials around a best one, after a range grew, are left out. A half in which every
        trial diverged is infinitely bad; two such halves tie.

    Example:
        >>> from optforge.comparison.cells.cell import CellResult
        >>> good, bad = ([Trial((), (CellResult(loss=x),))] * 4 for x in (0.5, 1.0))
        >>> [round(x, 3) for x in differences(good, bad)]
        [-0.693, -0.693, -0.693, 1.0]
    """
    mine, other = _best_of_half(trials, objective), _best_of_half(others, objective)
    if mine is None or other is None:
        return None
    (scores, chances), (their_scores, their_chances) = mine, other
    with np.errstate(invalid="ignore"):
        apart = np.subtract.outer(scores, their_scores)
    apart = np.where(np.isnan(apart), 0.0, apart).ravel()  # infinity from infinity: a draw
    weights = np.outer(chances, their_chances).ravel()
    ahead = float(weights[apart < 0].sum() + 0.5 * weights[apart == 0].sum())
    middle, low, high = (_quantile(apart, weights, share) for share in (0.5, 0.025, 0.975))
    return middle, low, high, ahead


def _best_of_half(trials: Sequence[Trial], objective: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the scores in ascending order, and each one's probability of being a half's best."""
    # Later rounds refine what the first one found; they are no draws.
    drawn = [trial for trial in trials if trial.round == 0]
    known = [trial.outcomes for trial in drawn if not any(o.failed for o in trial.outcomes)]
    n, k = len(known), len(known) // 2
    if n < _LEAST:
        return None
    ordered = np.sort([score(outcomes, objective) for outcomes in known])
    chances = [math.comb(n - i - 1, k - 1) / math.comb(n, k) for i in range(n)]
    return ordered, np.array(chances)


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values)
    place = np.searchsorted(np.cumsum(weights[order]), share * weights.sum())
    return float(values[order][min(int(place), len(values) - 1)])
