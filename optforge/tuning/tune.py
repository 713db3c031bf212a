"""The one tuner: strategies propose settings, a callback trains them, the best train again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from optforge.tuning.space import Setting, Space

Outcome = TypeVar("Outcome")
FINAL = -1  # the round in which finalists are trained again

# What training returns: for each thing that is tuned and each of its settings, the outcomes.
Outcomes: TypeAlias = Sequence[Sequence[tuple[Outcome, ...]]]
Train: TypeAlias = Callable[[Sequence[Sequence[Setting]], int], Outcomes[Outcome]]
Score: TypeAlias = Callable[[Sequence[Outcome]], float]


@dataclass(frozen=True)
class Trial(Generic[Outcome]):
    """A setting that was tried.

    Args:
        setting: The hyper-parameters.
        outcomes: Results of its training, one per seed or one for all together.
        round: Number of the round in which it was proposed, counted from 0; ``FINAL`` for a
            finalist.
    """

    setting: Setting
    outcomes: tuple[Outcome, ...]
    round: int = 0


@dataclass
class Study(Generic[Outcome]):
    """One subject of tuning, and its trials.

    Args:
        name: Name of the subject.
        space: The space from which settings are drawn; a strategy may extend it.
        known: Settings that are tried first.
        trials: All trials so far, in the order in which they were proposed.
        finalists: Trials of the settings that were trained again.
        grown: Names of the dimensions whose range grew.
    """

    name: str
    space: Space
    known: tuple[Setting, ...] = ()
    trials: list[Trial[Outcome]] = field(default_factory=list)
    finalists: list[Trial[Outcome]] = field(default_factory=list)
    grown: tuple[str, ...] = ()


class Strategy(Protocol[Outcome]):
    """Decides which settings are tried."""

    def ask(self, studies: Sequence[Study[Outcome]]) -> Sequence[Sequence[Setting]]:
        """Return the next settings of each study; no settings at all end the tuning."""
        ...

    def finalists(self, studies: Sequence[Study[Outcome]]) -> Sequence[Sequence[Setting]]:
        """Return the settings of each study that are trained again, on other seeds."""
        ...


def tune(
    studies: Sequence[Study[Outcome]], strategy: Strategy[Outcome], train: Train[Outcome]
) -> None:
    """Tune several subjects side by side and add all trials to their studies.

    Each round is trained as a whole, so that all workers are busy. The best setting is chosen among
    finalists, which are trained again, so that luck with the first seeds does not decide.

    Args:
        studies: The subjects of tuning.
        strategy: Proposes settings, round after round, then the finalists.
        train: Trains settings; receives the number of the round, ``FINAL`` for the finalists.

    Example:
        >>> from optforge.tuning.dimension import Dimension
        >>> from optforge.tuning.growing import QuasiRandom
        >>> study = Study("parabola", Space((Dimension("lr", 0.01, 1.0),)))
        >>> def train(asked, number):
        ...     return [[((dict(s)["lr"] - 0.1) ** 2,) for s in settings] for settings in asked]
        >>> tune([study], QuasiRandom(16, score=lambda outcomes: outcomes[0]), train)
        >>> best = best_trial(study.finalists, lambda outcomes: outcomes[0])
        >>> abs(dict(best.setting)["lr"] - 0.1) < 0.02
        True
    """
    number = 0
    while any(asked := strategy.ask(studies)):
        for study, trials in zip(studies, _trained(asked, train, number), strict=True):
            study.trials += trials
        number += 1
    finalists = strategy.finalists(studies)
    for study, trials in zip(studies, _trained(finalists, train, FINAL), strict=True):
        study.finalists += trials


def _trained(
    asked: Sequence[Sequence[Setting]], train: Train[Outcome], number: int
) -> list[list[Trial[Outcome]]]:
    return [
        [Trial(setting, tuple(row), number) for setting, row in zip(settings, rows, strict=True)]
        for settings, rows in zip(asked, train(asked, number), strict=True)
    ]


def best_trial(trials: Sequence[Trial[Outcome]], score: Score[Outcome]) -> Trial[Outcome] | None:
    """Return the first trial with the lowest score; None if no score is finite.

    Example:
        >>> best_trial([Trial((), (2.0,)), Trial((("lr", 0.1),), (1.0,))], sum)
        Trial(setting=(('lr', 0.1),), outcomes=(1.0,), round=0)
    """
    scores = [score(trial.outcomes) for trial in trials]
    if not scores or not math.isfinite(min(scores)):
        return None
    return trials[scores.index(min(scores))]


def shortlist(
    trials: Sequence[Trial[Outcome]], score: Score[Outcome], count: int
) -> list[Trial[Outcome]]:
    """Return the best trials with distinct settings and finite scores, best first."""
    scores = [score(trial.outcomes) for trial in trials]
    finite = [(s, trial) for s, trial in zip(scores, trials, strict=True) if math.isfinite(s)]
    distinct: dict[Setting, Trial[Outcome]] = {}
    for _, trial in sorted(finite, key=lambda pair: pair[0]):
        distinct.setdefault(trial.setting, trial)
    return list(distinct.values())[:count]
