"""Tuning of rules: the same number of trials for each, on one task or on several at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy
from numpy import ndarray

from optforge.jobs import Trainer
from optforge.training import Trainee
from optforge.tuning.racing import FAILED, KEPT, Race, promising
from optforge.tuning.space import Setting, Space
from optforge.tuning.tpe import RandomThenTpe
from optforge.tuning.tune import FINAL, Study, Train, best_trial, tune

TRIALS = 256  # settings of each optimizer and rule, on each task or on all of them together
LEAST_TUNED = 64  # trials; what had fewer is called lightly tuned
FRESH_SEEDS = 24  # of each task behind a final figure, where all is tuned fully
_AGAIN = "tune again"  # the purpose of the seeds of the last few settings
_LEAST_SHARE = 1 / 6  # of the seeds of full measurements, however few trials there are

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Effort:
    """The amount of tuning, the same for everything.

    Args:
        trials: Number of settings.
        seeds: Number of seeds of each promising setting on each task.
        finalists: Number of best settings that are trained again.
        final_seeds: Number of further seeds of each finalist.
        fresh_seeds: Number of fresh seeds of each task behind a final figure; by default as many as
            suit the trials, at most 24.
    """

    trials: int = TRIALS
    seeds: int = 3
    finalists: int = 12
    final_seeds: int = 12
    fresh_seeds: int | None = None

    @classmethod
    def of(cls, trials: int) -> Effort:
        """Return an effort in which finalists take no more time than trials.

        Example:
            >>> Effort.of(32).finalists, Effort.of(256) == Effort()
            (4, True)
        """
        finalists = min(12, max(min(3, trials // 2), trials // 8))
        return cls(trials, finalists=finalists, final_seeds=finalists)

    @property
    def is_light(self) -> bool:
        """Whether there were so few trials that a table says "lightly tuned"."""
        return self.trials < LEAST_TUNED

    def scaled(self, count: int, least: int = 2) -> int:
        """Return how many of a number of fresh seeds, or of finalists, suit this effort.

        Args:
            count: Their number where all is tuned fully; at least a sixth of it is returned.
            least: Smallest number that is of use.

        Example:
            >>> Effort(4).scaled(32), Effort(32).scaled(32), Effort().scaled(32)
            (5, 16, 32)
        """
        share = min(1.0, max(self.trials / LEAST_TUNED, _LEAST_SHARE))
        return min(count, max(least, int(count * share)))

    def fresh(self, share: float = 1.0, least: int = 2) -> int:
        """Return the number of fresh seeds of each task of a measurement.

        Args:
            share: Their share of those of a final figure.
            least: Smallest number that is of use, where the number is not given.

        Example:
            >>> Effort().fresh(), Effort(4).fresh(least=8), Effort(4, fresh_seeds=40).fresh(0.25)
            (24, 8, 10)
        """
        if self.fresh_seeds is not None:
            return max(2, round(share * self.fresh_seeds))
        return self.scaled(round(share * FRESH_SEEDS), least)

    @property
    def runs(self) -> int:
        """Number of trainings of one rule on one task if every trial had all its seeds."""
        return self.runs_with(0)

    def runs_with(self, known: int) -> int:
        """Return the number of trainings if some known settings are finalists in any case.

        Args:
            known: Number of known settings, with which the trials begin.

        Example:
            >>> Effort(64).runs, Effort(64).runs_with(2), Effort(6).runs_with(2)
            (336, 360, 90)
        """
        finalists = min(self.trials, known + self.finalists)
        return self.trials * self.seeds + finalists * self.final_seeds

    @property
    def expected_runs(self) -> int:
        """About how many trainings of one rule on one task there are, since trials are raced.

        Example:
            >>> Effort().runs, Effort().expected_runs
            (912, 570)
        """
        return self.runs - round(self.trials * (1 - KEPT)) * (self.seeds - 1)


FULL = Effort()  # of everything that is committed


class Losses(Protocol):
    """Trains candidates and returns their log losses."""

    def __call__(
        self, candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
    ) -> Mapping[str, ndarray]:
        """Return log validation losses on each task, float64 ``[candidates, seeds]``.

        Args:
            candidates: The candidates of each task.
            purpose: Name of a set of seeds; different purposes share no seeds.
            count: Number of seeds of each task.
        """
        ...


@dataclass(frozen=True)
class Tunable:
    """A rule or optimizer that can be tuned.

    Args:
        space: The space from which settings are drawn.
        build: Builds a trainee from a setting.
        known: Settings that are tried first and always measured again at the end.
    """

    space: Space
    build: Callable[[Setting], Trainee]
    known: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class Tuned:
    """The best setting of a tunable.

    Args:
        trainee: The trainee with this setting.
        parameters: The setting.
        loss: Mean log validation loss by which it was chosen.
        trials: Number of settings that were tried.
    """

    trainee: Trainee
    parameters: Mapping[str, float]
    loss: float
    trials: int


def losses_by(trainer: Trainer, prefix: str = "", again: str = "") -> Losses:
    """Return a function that trains candidates for a tuner, as jobs.

    Args:
        trainer: Does the training; knows the tasks and stores all losses.
        prefix: Prefix of the purposes of seeds, so that nothing else uses the same seeds.
        again: What the display calls the training of the last few settings on more seeds.
    """

    def losses(
        candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
    ) -> dict[str, ndarray]:
        seeds = {task: trainer.seeds(task, f"{prefix}{purpose}", count) for task in candidates}
        what = again if purpose == _AGAIN else ""
        return trainer.losses(candidates, seeds, "validation", what)

    return losses


def tune_together(
    jobs: Sequence[tuple[Tunable, Sequence[str]]],
    losses: Losses,
    effort: Effort = FULL,
    watch: Watch = lambda done, total: None,
) -> list[Tuned]:
    """Tune several things side by side, each with the same number of trials.

    For several tasks the mean log loss counts, with equal weights. The trials of a
    round are trained on one seed, its best third on the others (`optforge.tuning.racing`).

    Args:
        jobs: Pairs of a tunable and the tasks on which it is tuned jointly.
        losses: Trains candidates and returns their losses.
        effort: Effort for each.
        watch: Called with the numbers of finished trials and of all trials.

    Returns:
        The best setting of each.
    """
    studies = [
        Study[float](", ".join(tasks), tunable.space, tunable.known) for tunable, tasks in jobs
    ]
    train = _train(jobs, losses, effort, watch)
    tune(studies, RandomThenTpe(effort.trials, effort.finalists), train)
    return [
        _best(tunable, study, effort.trials)
        for (tunable, _), study in zip(jobs, studies, strict=True)
    ]


def _train(
    jobs: Sequence[tuple[Tunable, Sequence[str]]], losses: Losses, effort: Effort, watch: Watch
) -> Train[float]:
    done, places, races = 0, [tasks for _, tasks in jobs], [Race() for _ in jobs]

    def raced(trainees: Sequence[Sequence[Trainee]]) -> list[ndarray]:
        firsts = _means(places, trainees, losses, "tune", 1)
        left = [
            [rule for rule, stays in zip(rules, promising(values).tolist(), strict=True) if stays]
            for rules, values in zip(trainees, firsts, strict=True)
        ]
        wholes = _means(places, left, losses, "tune", effort.seeds)
        return [race.losses(*both) for race, *both in zip(races, firsts, wholes, strict=True)]

    def train(asked: Sequence[Sequence[Setting]], number: int) -> list[list[tuple[float]]]:
        nonlocal done
        trainees = [
            [tunable.build(setting) for setting in settings]
            for (tunable, _), settings in zip(jobs, asked, strict=True)
        ]
        if number == FINAL:
            means = _means(places, trainees, losses, _AGAIN, effort.final_seeds)
        else:
            means = raced(trainees)
            done += max(map(len, asked), default=0)
            watch(done, effort.trials)
        return [[(value,) for value in values.tolist()] for values in means]

    return train


def _best(tunable: Tunable, study: Study[float], trials: int) -> Tuned:
    best = best_trial(study.finalists, lambda outcomes: outcomes[0])
    assert best is not None  # what diverged has a finite score too
    trainee = tunable.build(best.setting)
    return Tuned(trainee, dict(best.setting), best.outcomes[0], trials)


def _means(
    places: Sequence[Sequence[str]],
    trainees: Sequence[Sequence[Trainee]],
    losses: Losses,
    purpose: str,
    count: int,
) -> list[ndarray]:
    """Return mean log losses over tasks and seeds of all tunables' trainees, trained at once."""
    by_task: dict[str, list[Trainee]] = {}
    rows: list[dict[str, slice]] = []
    for tasks, candidates in zip(places, trainees, strict=True):
        rows.append({})
        for task in tasks:
            everybody = by_task.setdefault(task, [])
            rows[-1][task] = slice(len(everybody), len(everybody) + len(candidates))
            everybody.extend(candidates)
    logs = losses(by_task, purpose, count)
    means = [
        numpy.mean([logs[task][row].mean(1) for task, row in of_task.items()], axis=0)
        for of_task in rows
    ]
    return [numpy.where(numpy.isfinite(values), values, FAILED) for values in means]
