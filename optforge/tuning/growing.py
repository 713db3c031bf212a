"""Quasi-random settings or a grid, with ranges that grow if a best trial lies at an edge.

If the best trial of any study lies in the outer tenth of a range, that range grows, and every study
gets the same number of further trials around its own best, so that none is tuned longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from optforge.tuning.space import Setting, Space
from optforge.tuning.tune import Outcome, Score, Study, best_trial, shortlist


@dataclass
class QuasiRandom(Generic[Outcome]):
    """A scrambled Sobol sequence, then trials around the best if ranges grow.

    Args:
        trials: Number of trials of each study in the first round.
        score: Score by which settings are chosen, lower is better.
        seed: Seed of the scrambling.
        grid: Whether the first round is a grid, filled up by quasi-random settings.
        extensions: How often ranges may grow.
        extra: Number of further trials of each study when one grows.
        finalists_each: Number of best settings of each study that are trained again.
        round: Number of the most recent round.
    """

    trials: int
    score: Score[Outcome]
    seed: int = 0
    grid: bool = False
    extensions: int = 0
    extra: int = 0
    finalists_each: int = 3
    round: int = -1

    def ask(self, studies: Sequence[Study[Outcome]]) -> list[Sequence[Setting]]:
        """Return the first settings, and later those around each best if a range grows."""
        self.round += 1
        if self.round == 0:
            return [self.draw(study.space) for study in studies]
        if self.round > self.extensions:
            return []
        edges = [self._edges(study) for study in studies]
        if not any(edges):
            return []
        return [
            self._further(study, study_edges)
            for study, study_edges in zip(studies, edges, strict=True)
        ]

    def finalists(self, studies: Sequence[Study[Outcome]]) -> list[Sequence[Setting]]:
        """Return the best settings of each study, without those that diverged."""
        best = (shortlist(study.trials, self.score, self.finalists_each) for study in studies)
        return [[trial.setting for trial in trials] for trials in best]

    def draw(self, space: Space) -> tuple[Setting, ...]:
        """Return the settings of the first round."""
        if not self.grid:
            return space.quasi_random(self.trials, self.seed)
        grid = space.grid(self.trials)
        return grid + space.quasi_random(self.trials - len(grid), self.seed)

    def _edges(self, study: Study[Outcome]) -> dict[str, int]:
        best = best_trial(study.trials, self.score)
        return study.space.edges(best.setting) if best else {}

    def _further(self, study: Study[Outcome], edges: dict[str, int]) -> Sequence[Setting]:
        study.space = study.space.extended(edges)
        study.grown = tuple(dict.fromkeys((*study.grown, *edges)))
        best = best_trial(study.trials, self.score)
        if best is None:  # nothing to refine: more of the whole space
            tried = len(study.trials)
            return study.space.quasi_random(tried + self.extra, self.seed)[tried:]
        box = study.space.around(best.setting, edges)
        return box.quasi_random(self.extra, self.seed + self.round)
