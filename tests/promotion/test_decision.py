"""Promotion by paired tests: how often it errs, what it sees, what it spares."""

from __future__ import annotations

import math

import numpy
import pytest

from optforge.promotion.decision import DROPPED, OPEN, PROMOTED, CandidateStanding, judge

LOOKS = (5, 10, 20)


def stage(effects: list[float], random: numpy.random.Generator) -> list[CandidateStanding]:
    """A whole stage in which candidates have these true effects and noise of deviation 1."""
    seeds = random.normal(0, 3, LOOKS[-1])  # shared by all: the pairing has to take it out
    logs = [seeds + random.normal(effect, 1, LOOKS[-1]) for effect in effects]
    judgements: list[CandidateStanding] = []
    for look in LOOKS:
        rows = [
            row[:look] if not judgements or judgements[n].outcome == OPEN else None
            for n, row in enumerate(logs)
        ]
        judgements = judge(seeds[:look], rows, LOOKS, 0.05, judgements)
    return judgements


def test_nothing_true_is_promoted_more_often_than_alpha() -> None:
    """Eight candidates that are as good as the baseline, two that are worse, many times."""
    random = numpy.random.default_rng(3)
    stages = [stage([0.0] * 8 + [0.5] * 2, random) for _ in range(400)]
    wrong = sum(any(j.outcome == PROMOTED for j in judgements) for judgements in stages)
    assert wrong / 400 < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    assert all(j.outcome != OPEN for judgements in stages for j in judgements)


def test_what_is_better_is_promoted_among_many_that_are_not() -> None:
    random = numpy.random.default_rng(4)
    stages = [stage([-2.5, *[0.3] * 9], random) for _ in range(60)]
    assert sum(judgements[0].outcome == PROMOTED for judgements in stages) > 54


def test_the_hopeless_stop_early_and_cost_little_of_what_is_good() -> None:
    random = numpy.random.default_rng(5)
    worse = [stage([2.0], random)[0] for _ in range(60)]
    better = [stage([-1.2], random)[0] for _ in range(60)]
    assert {j.outcome for j in worse} == {DROPPED}
    assert sum(j.seeds for j in worse) / 60 < 6
    assert sum(j.outcome == PROMOTED for j in better) > 50


def test_more_candidates_need_more_evidence() -> None:
    noise = numpy.random.default_rng(0).normal(0, 1, (2, 5))
    alone = judge(noise[0], [noise[1] - 4.0], LOOKS, 0.05, [])
    among = judge(noise[0], [noise[1] - 4.0, *[noise[1] + 9.0] * 9], LOOKS, 0.05, [])
    assert among[0].p_value == pytest.approx(10 * alone[0].p_value)


def test_what_fails_on_a_seed_is_not_promoted() -> None:
    baseline = numpy.zeros(20)
    row = numpy.random.default_rng(1).normal(-1, 0.01, 20)
    assert judge(baseline, [row], LOOKS, 0.05, [])[0].outcome == PROMOTED
    row[3] = math.inf
    assert judge(baseline, [row], LOOKS, 0.05, [])[0].outcome == DROPPED
