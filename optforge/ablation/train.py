"""Simplification with training, from the given rule to the table of effects."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from optforge.ablation.decision import DecisionRule
from optforge.ablation.effects import REPEATS, Effect, Effects, longer_constants, measure_effects
from optforge.ablation.events import Tell
from optforge.ablation.protection import protectable
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.ablation.simplifier import MOST_COMPARISONS, Simplifier
from optforge.equality.derivation import Derivation, Link
from optforge.equality.exact import Simplified, simplify_exact
from optforge.errors import MOST, SimplifyError, whole_number
from optforge.execution import Workers
from optforge.language import Program, parse
from optforge.options import with_plain_fields

_TRIALS = 0.7  # share of the time; the rest is for figures on fresh seeds
_LEAST_LOOK = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a simplification with training.

    Args:
        margin: Log loss by which the mean over tasks may rise.
        keep: Protected names: variables, functions, states, hyper-parameters.
        drop_unresolved: Whether to remove statements whose effect the tasks cannot resolve.
        programs: Number of proposals of an evolution without insertion that runs first; 0 for none.
        minutes: Minutes after which it ends with the changes made so far; None for no limit.
        looks: Number of seeds of each task at each look.
        repeats: Number of fresh seeds of each task for the table of effects.
        most_comparisons: Number of comparisons after which it ends with the changes made so far.

    Raises:
        SimplifyError: If a number is out of range.
    """

    margin: float = DecisionRule.margin
    keep: tuple[str, ...] = ()
    drop_unresolved: bool = False
    programs: int = 0
    minutes: float | None = None
    looks: tuple[int, ...] = DecisionRule.looks
    repeats: int = REPEATS
    most_comparisons: int = MOST_COMPARISONS

    def __post_init__(self) -> None:
        with_plain_fields(self, SimplifyError)
        if not (math.isfinite(self.margin) and self.margin > 0):
            raise SimplifyError(
                f"margin is {self.margin}; give a log loss above 0, such as 0.02: a rule that is "
                "exactly as good cannot be told from one that is a little worse"
            )
        if self.minutes is not None and not self.minutes > 0:
            raise SimplifyError(f"minutes is {self.minutes}; give a time above 0")
        whole_number("repeats", self.repeats, _LEAST_LOOK, SimplifyError, MOST)
        whole_number("most_comparisons", self.most_comparisons, 1, SimplifyError)
        whole_number("the last look", max(self.looks, default=2), _LEAST_LOOK, SimplifyError, MOST)
        rising = all(a < b for a, b in zip(self.looks, self.looks[1:], strict=False))
        if not self.looks or self.looks[0] < _LEAST_LOOK or not rising:
            raise SimplifyError(
                f"looks are {self.looks}; give rising numbers of seeds, the first at least "
                f"{_LEAST_LOOK}"
            )


@dataclass(frozen=True)
class TrainingEvidence:
    """Evidence from training behind a simplification.

    Args:
        effects: The table of effects.
        tasks: Names of the tasks.
        options: The options that were used.
        rule: How comparisons were decided.
        comparisons: Number of comparisons that were made.
        ended: Why the trials ended.
        seed: Seed from which all training seeds are derived.
        roundings: Result for each shorter form of each remaining constant; ``kept: not decided`` if
            the trials ended before.
    """

    effects: Effects
    tasks: tuple[str, ...]
    options: Options
    rule: DecisionRule
    comparisons: int
    ended: str
    seed: int
    roundings: tuple[Effect, ...] = ()


def simplify_by_training(
    program: Program,
    trainer: RuleTrainer,
    options: Options = Options(),
    workers: Workers = 0,
    say: Tell = lambda message: None,
) -> tuple[Simplified, TrainingEvidence]:
    """Simplify a rule: exact passes, then the removals that training shows to be harmless.

    Args:
        program: A valid program.
        trainer: Trains the rules; its deadline is set here.
        options: Options of the simplification.
        workers: Number of worker processes of an evolution.
        say: Called with each event.

    Returns:
        The simple rule with its derivation, and the evidence from training.

    Raises:
        SimplifyError: If a protected name is unknown, or the check of an exact step fails.
        StoppedError: If a stop is requested; all measurements so far are in the store.
    """
    _check_names(program, options.keep)
    begin, length = time.monotonic(), 60 * (options.minutes or math.inf)
    rule = replace(DecisionRule(), margin=options.margin, looks=options.looks)
    simplifier = Simplifier(
        trainer,
        rule,
        options.keep,
        options.drop_unresolved,
        say,
        options.programs,
        workers,
        options.most_comparisons,
    )
    trainer.runner.deadline = begin + _TRIALS * length
    simplifier.run(program)
    trainer.runner.deadline = begin + length
    effects = measure_effects(simplifier, options.repeats)
    derivation = Derivation(program.text, tuple(simplifier.steps))
    derivation.check()
    simple = parse(derivation.end)
    links = tuple(Link(None) for _ in simple.states)
    tasks = tuple(task.name for task in trainer.tasks)
    ended, roundings = simplifier.ended, longer_constants(simplifier)
    evidence = TrainingEvidence(
        effects,
        tasks,
        options,
        rule,
        simplifier.comparisons,
        ended,
        trainer.trainer.seed,
        roundings,
    )
    stops = tuple(dict.fromkeys(simplifier.stops))
    return Simplified(simple, derivation, links, stops), evidence


def _check_names(program: Program, keep: Sequence[str]) -> None:
    if not keep:
        return
    known = protectable(simplify_exact(program).program)
    for name in keep:
        if name not in known:
            raise SimplifyError(
                f"nothing in the rule is called {name!r} once the exact steps are done; what can "
                f"be kept is {', '.join(sorted(known))}"
            )
