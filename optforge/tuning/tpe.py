"""Optuna's samplers in rounds: known settings first, then random ones, then TPE."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import optuna

from optforge.tuning.space import Setting
from optforge.tuning.tune import Study, Trial

ROUND = 16  # trials of a study that are trained at once


@dataclass
class RandomThenTpe:
    """A third of the settings random, a third TPE, a third TPE with interactions.

    Args:
        trials: Number of trials of each study.
        finalists_each: Number of best settings of each study that are trained again, besides the
            known ones.

    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011; Falkner et al.,
    BOHB, 2018, for the multivariate form.
    """

    trials: int
    finalists_each: int
    _asked: list[_Asked] = field(default_factory=list, init=False)

    def ask(self, studies: Sequence[Study[float]]) -> list[Sequence[Setting]]:
        """Return up to 16 settings for each study, until each has had its trials."""
        if not self._asked:
            self._asked = [_Asked(study) for study in studies]
        return [asked.further(self.trials) for asked in self._asked]

    def finalists(self, studies: Sequence[Study[float]]) -> list[Sequence[Setting]]:
        """Return the known settings, then the best of the others."""
        return [
            [*study.known, *(trial.setting for trial in self._best(study))] for study in studies
        ]

    def _best(self, study: Study[float]) -> list[Trial[float]]:
        others = study.trials[len(study.known) :]
        return sorted(others, key=lambda trial: trial.outcomes[0])[: self.finalists_each]


class _Asked:
    """A study together with its Optuna study."""

    def __init__(self, study: Study[float]) -> None:
        self.study = study
        with _quiet():
            self.optuna = optuna.create_study()
            self.samplers = _samplers()
            for setting in study.known:
                self.optuna.enqueue_trial(study.space.nearest(setting))
        self.open: list[optuna.Trial] = []

    def further(self, trials: int) -> list[Setting]:
        done = len(self.study.trials)
        with _quiet():
            results = self.study.trials[done - len(self.open) :]
            for trial, result in zip(self.open, results, strict=True):
                self.optuna.tell(trial, result.outcomes[0])
            self.optuna.sampler = self.samplers[min(len(self.samplers) * done // trials, 2)]
            distributions = self.study.space.distributions
            count = min(ROUND, trials - done)
            self.open = [self.optuna.ask(distributions) for _ in range(count)]
        return [self.study.space.setting(trial.params) for trial in self.open]


def _samplers() -> list[optuna.samplers.BaseSampler]:
    """Return the samplers of settings, each for a third of the trials."""
    return [
        optuna.samplers.RandomSampler(seed=0),
        optuna.samplers.TPESampler(seed=0, n_startup_trials=0),
        optuna.samplers.TPESampler(
            seed=0, n_startup_trials=0, multivariate=True, constant_liar=True
        ),
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from logging each trial, and restore its level afterwards."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
