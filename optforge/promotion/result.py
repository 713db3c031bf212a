"""Results of a funnel: what became of each candidate in each stage."""

from __future__ import annotations

from dataclasses import dataclass

from optforge.promotion.candidates import FunnelCandidate
from optforge.promotion.decision import PROMOTED, CandidateStanding
from optforge.training import Trainee


@dataclass(frozen=True)
class Entrant:
    """A candidate in one stage.

    Args:
        candidate: The candidate.
        trainee: Its rule and schedule, tuned for the stage.
        tuned_loss: Mean log loss of this setting on the seeds of the tuning.
        judgement: The decision.
    """

    candidate: FunnelCandidate
    trainee: Trainee
    tuned_loss: float
    judgement: CandidateStanding

    @property
    def is_promoted(self) -> bool:
        """Whether it beat the baseline."""
        return self.judgement.outcome == PROMOTED


@dataclass(frozen=True)
class StageResult:
    """One finished stage.

    Args:
        name: Name of its task or script.
        baseline: Rule and schedule of the baseline, tuned alike.
        entrants: All candidates that entered, in the order of the stage before.
        trials: Number of settings tried for each.
    """

    name: str
    baseline: Trainee
    entrants: tuple[Entrant, ...]
    trials: int

    @property
    def promoted(self) -> list[Entrant]:
        """The promoted candidates, the best first."""
        promoted = [entrant for entrant in self.entrants if entrant.is_promoted]
        return sorted(promoted, key=lambda entrant: entrant.judgement.effect.mean)
