"""Tuning: anything with a space of settings, on one task or on several at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy
import optuna
from numpy import ndarray
from optuna.distributions import BaseDistribution, FloatDistribution

from optforge.language import round_constant
from optforge.tasks import Schedule
from optforge.training import Trainee

TRIALS = 256  # settings of each optimizer and rule, on each task or on all of them together
SEEDS = 3
FINALISTS, FINAL_SEEDS = 12, 12
_BATCH = 16  # trials trained at once
_FAILED = 1e3  # log loss of a setting that diverged

Parameters = Mapping[str, float]
Space = Mapping[str, BaseDistribution]
Watch = Callable[[int, int], None]

# The shape of the schedule is part of training, and tuned for everybody alike.
SCHEDULE: Space = {
    "warmup": FloatDistribution(0.01, 0.5, log=True),
    "decay_power": FloatDistribution(0.2, 3.0, log=True),
    "final_lr": FloatDistribution(0.0, 0.3),
}


def schedule_of(parameters: Parameters) -> Schedule | None:
    """Return the schedule that a setting names; None where it names none of its parts.

    Example:
        >>> schedule_of({"lr": 0.1, "decay_power": 0.5})
        Schedule(warmup=0.1, power=0.5, final=0.0)
    """
    names = {"warmup": "warmup", "decay_power": "power", "final_lr": "final"}
    found = {names[name]: value for name, value in parameters.items() if name in names}
    return Schedule(**found) if found else None


class Losses(Protocol):
    """Trains candidates and returns their log losses."""

    def __call__(
        self, candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
    ) -> Mapping[str, ndarray]:
        """Return log validation losses of each task, float64 ``[candidates, seeds]``.

        Args:
            candidates: For each task what is trained on it.
            purpose: Seeds of two purposes have nothing in common.
            count: Seeds of each task.
        """
        ...


@dataclass(frozen=True)
class Tunable:
    """What can be tuned.

    Args:
        space: What is drawn; a name ``one_minus_x`` is drawn as such and becomes ``x``, because
            what matters of an average is how long it remembers.
        build: Makes a trainee of a setting.
        known: Settings that are tried first, and measured again at the end in any case.
    """

    space: Space
    build: Callable[[Parameters], Trainee]
    known: tuple[Parameters, ...] = ()


@dataclass(frozen=True)
class Tuned:
    """The best setting of a tunable.

    Args:
        trainee: Made of it.
        parameters: The setting.
        loss: Mean log validation loss that it was chosen by.
        trials: Settings that were tried.
    """

    trainee: Trainee
    parameters: Parameters
    loss: float
    trials: int


@dataclass
class _Study:
    """One tunable on its tasks, and what has been tried."""

    tunable: Tunable
    tasks: tuple[str, ...]
    study: optuna.Study = field(default_factory=optuna.create_study)
    drawn: list[optuna.Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        for setting in self.tunable.known:
            self.study.enqueue_trial(_drawn(setting, self.tunable.space))

    def ask(self, sampler: optuna.samplers.BaseSampler, count: int) -> list[Trainee]:
        self.study.sampler = sampler
        self.drawn = [self.study.ask(dict(self.tunable.space)) for _ in range(count)]
        return [self.tunable.build(_setting(trial.params)) for trial in self.drawn]

    def tell(self, losses: Sequence[float]) -> None:
        for trial, loss in zip(self.drawn, losses, strict=True):
            self.study.tell(trial, loss)

    def finalists(self) -> list[Parameters]:
        """Return the known settings, then the best of the others."""
        trials = self.study.get_trials()
        known = trials[: len(self.tunable.known)]
        others = sorted(trials[len(known) :], key=lambda trial: trial.values[0])[:FINALISTS]
        settings = [_setting(trial.params) for trial in others]
        return [*self.tunable.known, *settings]


def tune_together(
    jobs: Sequence[tuple[Tunable, Sequence[str]]],
    losses: Losses,
    trials: int = TRIALS,
    watch: Watch = lambda done, total: None,
) -> list[Tuned]:
    """Tune several things side by side, each with the same number of trials.

    A third of the settings is random, the rest follow models of the results (TPE, without and
    with interactions). The best are measured again on other seeds, so that luck with the first
    ones does not choose. On several tasks the mean log loss counts, each task alike.

    Args:
        jobs: What is tuned, and the tasks that it is tuned on together.
        losses: Trains.
        trials: Settings of each, three seeds a task.
        watch: Told how many of the trials are done, and how many there are.

    Returns:
        The best setting of each.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studies = [_Study(tunable, tuple(tasks)) for tunable, tasks in jobs]
    stages = [_samplers() for _ in studies]
    for done in range(0, trials, _BATCH):
        count = min(_BATCH, trials - done)
        asked = [
            study.ask(own[len(own) * done // trials], count)
            for study, own in zip(studies, stages, strict=True)
        ]
        for study, values in zip(
            studies, _means(studies, asked, losses, "tune", SEEDS), strict=True
        ):
            study.tell(values.tolist())
        watch(done + count, trials)
    settings = [study.finalists() for study in studies]
    finals = [[s.tunable.build(p) for p in own] for s, own in zip(studies, settings, strict=True)]
    means = _means(studies, finals, losses, "tune again", FINAL_SEEDS)
    best = [int(values.argmin()) for values in means]
    return [
        Tuned(finals[n][place], settings[n][place], float(means[n][place]), trials)
        for n, place in enumerate(best)
    ]


def _means(
    studies: Sequence[_Study],
    candidates: Sequence[Sequence[Trainee]],
    losses: Losses,
    purpose: str,
    count: int,
) -> list[ndarray]:
    """Mean log losses of each study's candidates; all are handed over at once."""
    of: dict[str, list[Trainee]] = {}
    places: list[dict[str, slice]] = []
    for study, own in zip(studies, candidates, strict=True):
        places.append({})
        for task in study.tasks:
            all_of_task = of.setdefault(task, [])
            places[-1][task] = slice(len(all_of_task), len(all_of_task) + len(own))
            all_of_task.extend(own)
    logs = losses(of, purpose, count)
    means = [
        numpy.mean([logs[task][place].mean(1) for task, place in own.items()], axis=0)
        for own in places
    ]
    return [numpy.where(numpy.isfinite(values), values, _FAILED) for values in means]


def _samplers() -> list[optuna.samplers.BaseSampler]:
    """Return the ways to draw settings, each for a third of the trials: random, then TPE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return [
            optuna.samplers.RandomSampler(seed=0),
            optuna.samplers.TPESampler(seed=0, n_startup_trials=0),
            optuna.samplers.TPESampler(
                seed=0, n_startup_trials=0, multivariate=True, constant_liar=True
            ),
        ]


_COMPLEMENT = "one_minus_"


def _setting(drawn: Parameters) -> dict[str, float]:
    setting = {
        name.removeprefix(_COMPLEMENT): 1 - value if name.startswith(_COMPLEMENT) else value
        for name, value in drawn.items()
    }
    return {name: round_constant(float(value)) for name, value in setting.items()}


def _drawn(setting: Parameters, space: Space) -> dict[str, float]:
    """Return what must be drawn to get a setting, as near as the space allows."""
    found = {}
    for name, distribution in space.items():
        own = name.removeprefix(_COMPLEMENT)
        value = setting[own]
        value = 1 - value if name.startswith(_COMPLEMENT) else value
        if isinstance(distribution, FloatDistribution):
            value = min(max(value, distribution.low), distribution.high)
        found[name] = value
    return found
