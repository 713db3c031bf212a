"""The decision keeps its promise: checked on made-up losses with a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import pytest

from optforge.ablation.decision import NEEDED, REMOVABLE, UNRESOLVED, Decision, DecisionRule, decide
from optforge.language import Program, load_rule, parse
from tests.helpers.tiny import Blobs, Sums

REFERENCE = load_rule("lion")


@dataclass
class FakeTrainer:
    """Losses with a known effect and noise; common noise cancels in pairs."""

    effects: dict[str, float]
    noise: float
    seed: int = 0
    tasks: tuple[Any, ...] = (Blobs(), Sums())
    trained: int = 0

    def measure(
        self, programs: Sequence[Program], purpose: str, first: int, last: int, what: str
    ) -> numpy.ndarray:
        shape = (len(self.tasks), last - first)
        source = numpy.random.default_rng([self.seed, first])
        common = source.normal(size=shape)  # the same for all rules: initialisation and data
        self.trained += len(programs) * (last - first)
        return numpy.array(
            [
                common + self.effects[p.text] + self.noise * source.normal(size=shape)
                for p in programs
            ]
        )


def rules(count: int) -> list[Program]:
    return [parse(REFERENCE.text.replace("0.99", f"0.98{n}")) for n in range(1, count + 1)]


def decided(effects: Sequence[float], noise: float, seed: int = 0, **rule: Any) -> list[Decision]:
    programs = rules(len(effects))
    known = {p.text: e for p, e in zip(programs, effects, strict=True)}
    trainer = FakeTrainer({REFERENCE.text: 0.0, **known}, noise, seed)
    return decide(trainer, REFERENCE, programs, DecisionRule(**rule), 1, "test")  # type: ignore[arg-type]


def test_better_equal_and_worse_are_told_apart_at_the_first_look_that_can() -> None:
    better, equal, worse = decided((-0.5, 0.0, 0.5), noise=0.02)
    assert (better.outcome, equal.outcome, worse.outcome) == (REMOVABLE, REMOVABLE, NEEDED)
    assert better.looks == worse.looks == 1 and better.seeds == 6
    assert equal.effect.high < 0.02 and better.effect.high < 0 < worse.effect.low
    assert set(better.tasks) == {"Blobs", "Sums"}


def test_what_the_noise_hides_is_unresolved_after_all_looks() -> None:
    (decision,) = decided((0.02,), noise=0.3)
    assert decision.outcome == UNRESOLVED
    assert decision.seeds == DecisionRule.looks[-1] and decision.looks == len(DecisionRule.looks)
    assert decision.effect.low < 0.02 < decision.effect.high


def test_one_failure_that_the_reference_has_not_is_enough_to_stay() -> None:
    (program,) = rules(1)
    trainer = FakeTrainer({REFERENCE.text: 0.0, program.text: -1.0}, 0.01)
    plain = trainer.measure

    def failing(programs: Sequence[Program], *rest: Any) -> numpy.ndarray:
        logs = plain(programs, *rest)
        if len(programs) > 1:
            logs[1, 0, 0] = numpy.inf
        return logs

    trainer.measure = failing  # type: ignore[method-assign]
    (decision,) = decide(trainer, REFERENCE, [program], DecisionRule(), 1, "test")  # type: ignore[arg-type]
    assert decision.outcome == NEEDED and decision.failures == 1


def test_nobody_is_trained_once_all_is_decided() -> None:
    (program,) = rules(1)
    trainer = FakeTrainer({REFERENCE.text: 0.0, program.text: 1.0}, 0.01)
    decide(trainer, REFERENCE, [program], DecisionRule(), 1, "test")  # type: ignore[arg-type]
    assert trainer.trained == 2 * DecisionRule.looks[0]


def test_the_shares_of_all_comparisons_add_up_to_less_than_alpha() -> None:
    rule, candidates = DecisionRule(), 7
    spent = sum(
        (1 - rule.confidence(number, candidates)) * candidates * len(rule.looks)
        for number in range(1, 2000)
    )
    assert 0.999 * rule.alpha < spent + rule.alpha / 2000 <= 1.001 * rule.alpha


@pytest.mark.parametrize("effect", [0.021])
def test_a_rule_just_beyond_the_margin_is_hardly_ever_removed(effect: float) -> None:
    """With alpha 0.2, so that a few hundred derivations would show a broken promise."""
    wrong = sum(
        any(v.outcome == REMOVABLE for v in decided([effect] * 3, 0.05, seed, alpha=0.2))
        for seed in range(200)
    )
    assert wrong <= 40  # 0.2 of 200; Bonferroni leaves it far below


def test_harmless_changes_are_found_with_enough_seeds() -> None:
    right = sum(decided([0.0], 0.03, seed)[0].outcome == REMOVABLE for seed in range(50))
    assert right >= 45
