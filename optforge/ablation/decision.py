"""Whether a candidate is not worse: paired differences over seeds and tasks, in several looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy import ndarray

from optforge.ablation.rule_trainer import FAILED, RuleTrainer
from optforge.language import Program
from optforge.statistics import Interval, mean_interval_over_tasks, paired_interval

REMOVABLE, NEEDED, UNRESOLVED = "not worse", "worse", "unresolved"


@dataclass(frozen=True)
class DecisionRule:
    r"""How a comparison is decided.

    The log losses of candidate and reference are subtracted seed by seed. After each look, with m
    candidates and L looks in the r-th comparison of a derivation, the interval of the mean over
    tasks has the confidence :math:`1 - \alpha / (r (r + 1) m L)`. The shares of all comparisons add
    up to one. So the chance of any wrong claim in a whole derivation is at most :math:`\alpha`, as
    far as the differences meet the assumptions of Student's t.

    - ``not worse``: the interval ends below the margin;
    - ``worse``: it begins above the margin, at the last look above zero; or training failed on a
      seed on which the reference did not fail;
    - ``unresolved``: neither, after the last look.

    Args:
        margin: Log loss by which the mean over tasks may rise.
        alpha: Chance of any wrong claim.
        looks: Number of seeds of each task at each look, increasing.
    """

    margin: float = 0.02
    alpha: float = 0.05
    looks: tuple[int, ...] = (6, 12, 24, 48, 96)

    def confidence(self, number: int, candidates: int) -> float:
        """Return the confidence of each interval in a comparison; comparisons count from 1.

        Example:
            >>> round(1 - DecisionRule(looks=(6, 12)).confidence(1, 5), 6)
            0.0025
        """
        return 1 - self.alpha / (number * (number + 1) * candidates * len(self.looks))


@dataclass(frozen=True)
class Decision:
    """The result of a comparison for one candidate.

    Args:
        outcome: ``not worse``, ``worse`` or ``unresolved``.
        effect: Mean difference over tasks, with the interval that decided.
        tasks: Mean difference on each task, with its 95 % confidence interval.
        seeds: Number of seeds of each task that were used.
        looks: Number of looks that were taken.
        confidence: Confidence of the deciding interval.
        failures: Number of seeds on which the candidate failed and the reference did not.
    """

    outcome: str
    effect: Interval
    tasks: dict[str, Interval]
    seeds: int
    looks: int
    confidence: float
    failures: int = 0

    def figures(self, rule: DecisionRule) -> dict[str, Any]:
        """Return JSON-serializable values for a step of a derivation."""
        return {
            "effect": plain_interval(self.effect),
            "confidence": self.confidence,
            "tasks": {task: plain_interval(value) for task, value in self.tasks.items()},
            "seeds a task": self.seeds,
            "looks": f"{self.looks} of {len(rule.looks)}",
            "margin": rule.margin,
            "outcome": self.outcome,
        }


def plain_interval(value: Interval) -> dict[str, float | None]:
    """Return an interval as JSON-serializable values; infinite ends become None."""
    numbers = {"mean": value.mean, "low": value.low, "high": value.high}
    return {name: x if numpy.isfinite(x) else None for name, x in numbers.items()}


def decide(
    trainer: RuleTrainer,
    reference: Program,
    candidates: Sequence[Program],
    rule: DecisionRule,
    number: int,
    what: str,
) -> list[Decision]:
    """Compare candidates with a reference on seeds used for nothing else.

    Args:
        trainer: Trains the rules and measures them on validation data.
        reference: The rule that candidates are compared with.
        candidates: The candidates, tuned in the same way as the reference.
        rule: How a comparison is decided.
        number: Number of the comparison in the derivation, from 1; each has its own seeds.
        what: Description of the work, for the display.
    """
    confidence = rule.confidence(number, max(1, len(candidates)))
    logs = numpy.empty((1 + len(candidates), len(trainer.tasks), 0))
    decisions: dict[int, Decision] = {}
    before = 0
    for look, seeds in enumerate(rule.looks, 1):
        left = [n for n in range(len(candidates)) if n not in decisions]
        if not left:
            break
        programs = [reference, *(candidates[n] for n in left)]
        new = trainer.measure(programs, f"compare {number}", before, seeds, f"{what}, look {look}")
        grown = numpy.full((len(logs), len(trainer.tasks), seeds), numpy.nan)
        grown[:, :, :before] = logs
        grown[[0, *(n + 1 for n in left)], :, before:] = new
        logs, before = grown, seeds
        for n in left:
            decision = _decision(trainer, logs[0], logs[n + 1], rule, confidence, look)
            if decision.outcome != UNRESOLVED or look == len(rule.looks):
                decisions[n] = decision
    return [decisions[n] for n in range(len(candidates))]


def _decision(
    trainer: RuleTrainer,
    reference: ndarray,
    ours: ndarray,
    rule: DecisionRule,
    confidence: float,
    look: int,
) -> Decision:
    differences, failures = paired(reference, ours)
    effect = mean_interval_over_tasks(differences, confidence)
    tasks = {t.name: paired_interval(d) for t, d in zip(trainer.tasks, differences, strict=True)}
    last = look == len(rule.looks)
    if failures or effect.low > (0.0 if last and effect.high >= rule.margin else rule.margin):
        outcome = NEEDED
    else:
        outcome = REMOVABLE if effect.high < rule.margin else UNRESOLVED
    return Decision(outcome, effect, tasks, ours.shape[1], look, confidence, failures)


def paired(reference: ndarray, ours: ndarray) -> tuple[ndarray, int]:
    """Subtract log losses seed by seed; failed training counts as :data:`FAILED`.

    Returns:
        The differences, ``[tasks, seeds]``, and the number of seeds on which only ours failed.
    """
    failures = int((~numpy.isfinite(ours) & numpy.isfinite(reference)).sum())
    candidate, baseline = (
        numpy.where(numpy.isfinite(logs), logs, FAILED) for logs in (ours, reference)
    )
    return candidate - baseline, failures
