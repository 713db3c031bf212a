"""What a funnel costs at most, before any of it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from optforge.promotion.stage import Stage
from optforge.tasks import Task
from optforge.tasks.ladder import LADDER
from optforge.tuning import seconds_of_training

# Candidates may orthogonalize, which costs more than the gradients of a small network.
_RULE = "muon"
# Seconds of one training by it on one core of a server (AMD EPYC, not a fast day of it).
SECONDS: Mapping[str, float] = MappingProxyType(
    {
        "mnist_autoencoder": 1.3,
        "letters_residual": 2.5,
        "shakespeare_gru": 5.2,
        "letters_denoiser": 16.0,
        "shakespeare_gpt": 80.0,
    }
)


@dataclass(frozen=True)
class StageCost:
    """The largest cost of one stage.

    Args:
        name: Name of its task or script.
        candidates: Largest number of candidates that enter.
        trials: Number of settings tried for each, and for the baseline.
        trainings: Number of trainings.
        seconds: Seconds of all trainings on one core; None for a script, which nobody has timed.
    """

    name: str
    candidates: int
    trials: int
    trainings: int
    seconds: float | None


def costs_of(
    stages: Sequence[Stage], candidates: int, seconds: Mapping[str, float | None]
) -> list[StageCost]:
    """Return the cost of each stage if as many candidates as it takes survive the one before.

    Args:
        stages: The stages.
        candidates: Number of candidates of the first.
        seconds: Seconds of one training on each.

    Example:
        >>> from optforge.promotion.stage import read_ladder
        >>> [cost.candidates for cost in costs_of(read_ladder(), 12, SECONDS)]
        [12, 8, 6, 4, 3]
    """
    costs = []
    for stage in stages:
        candidates = min(candidates, stage.keep)
        count, each = stage.trainings(candidates), seconds.get(stage.name)
        total = None if each is None else count * each
        costs.append(StageCost(stage.name, candidates, stage.trials, count, total))
    return costs


def seconds_of(stages: Sequence[Stage], alone: Sequence[str] = ()) -> dict[str, float | None]:
    """Return the seconds of one training on each stage: known, measured, or None for scripts.

    Args:
        stages: The stages.
        alone: Names of the tasks whose models train one at a time.
    """
    return {stage.name: _seconds(stage, stage.name in alone) for stage in stages}


def _seconds(stage: Stage, is_alone: bool) -> float | None:
    if type(stage.source) in LADDER:
        return SECONDS[stage.name]
    if isinstance(stage.source, Task):
        return seconds_of_training(stage.source, is_alone, rule=_RULE)
    return None
