"""Fitting rules to a task: what of AdamW is tuned is tuned of them, in the same way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy
import optuna
from optuna.distributions import FloatDistribution

from optforge.analysis.hyperparameters import HyperParameter, Lifted, lift
from optforge.execution import Executor
from optforge.fitness import samplers, seeds
from optforge.language import Program, round_constant
from optforge.runs import Journal
from optforge.search.measure import measure

TRIALS = 128  # a task; never more than the baselines got
# What practitioners tune, as for the baselines. All constants at once are too many for the trials.
TUNED = ("lr", "beta", "one_minus_beta", "weight_decay", "momentum")
_SEEDS, _FINAL_SEEDS, _FINALISTS = 3, 6, 8
_BATCH = 16
_FAILED = 1e3  # log loss of a setting that diverged
_RANGE = 8.0  # constants are tried up to so many times larger and smaller
_DECAY = 1e-4, 1.0  # the range that AdamW's decay is tuned over


@dataclass
class _Study:
    """One rule on one task, and what has been tried."""

    task: str
    lifted: Lifted
    study: optuna.Study = field(default_factory=optuna.create_study)
    drawn: list[optuna.Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = {h.name: h for h in self.lifted.hyperparameters if h.value}
        if self.lifted.scale is None:  # then a rate multiplies the update from outside
            own["lr"] = HyperParameter("lr", 1.0, ())
        self.constants = {name: h for name, h in own.items() if name.startswith(TUNED)}
        self.space = {name: _distribution(h) for name, h in self.constants.items()}
        given = {name: _drawn(h, h.value) for name, h in self.constants.items()}
        self.study.enqueue_trial(given)

    def ask(self, sampler: optuna.samplers.BaseSampler, count: int) -> list[Program]:
        self.study.sampler = sampler
        self.drawn = [self.study.ask(dict(self.space)) for _ in range(count)]
        return [self.program(trial.params) for trial in self.drawn]

    def tell(self, losses: Sequence[float]) -> None:
        for trial, loss in zip(self.drawn, losses, strict=True):
            self.study.tell(trial, loss)

    def finalists(self) -> list[Program]:
        """The rule as it was given, then the best settings."""
        ordered = sorted(self.study.get_trials(), key=lambda trial: trial.values[0])
        given = self.study.get_trials()[0]
        others = [trial for trial in ordered if trial is not given][:_FINALISTS]
        return [self.lifted.program, *(self.program(trial.params) for trial in others)]

    def program(self, params: Mapping[str, float]) -> Program:
        values = {name: _value(h, params[name]) for name, h in self.constants.items()}
        return self.lifted.with_values(values)


def fit(
    executor: Executor,
    journal: Journal,
    programs: Sequence[Program],
    tasks: Sequence[str],
    seed: int,
    trials: int = TRIALS,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Program]]:
    """Tune rate, decay and memories of each rule on each task, on validation data.

    A third of the settings is random, the rest follow models of the results, as for the
    baselines; the rule as it is given is the first. The best are measured again on other seeds,
    together with the rule as it is, and the best of these is the result.

    Args:
        executor: Idle.
        journal: Takes note of workers that die.
        programs: The rules.
        tasks: Names of the tasks.
        seed: Of the run; decides the seeds, which nothing else uses.
        trials: Settings of each rule on each task, three seeds each.
        watch: Told the progress in settings.

    Returns:
        For each rule its program on each task.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studies = [[_Study(task, lift(program)) for task in tasks] for program in programs]
    every = [study for row in studies for study in row]
    for done in range(0, trials, _BATCH):
        count = min(_BATCH, trials - done)
        asked = [s.ask(_sampler(done, trials), count) for s in every]
        losses = _measured(executor, journal, every, asked, seed, "fit", _SEEDS)
        for study, values in zip(every, losses, strict=True):
            study.tell(values.tolist())
        watch(done + count, trials)
    finals = [study.finalists() for study in every]
    losses = _measured(executor, journal, every, finals, seed, "fit again", _FINAL_SEEDS)
    chosen = [final[int(values.argmin())] for final, values in zip(finals, losses, strict=True)]
    rows = numpy.arange(len(every)).reshape(len(programs), len(tasks))
    return [{t: chosen[n] for t, n in zip(tasks, row, strict=True)} for row in rows]


def _sampler(done: int, trials: int) -> optuna.samplers.BaseSampler:
    stages = samplers()
    return stages[len(stages) * done // trials]


def _measured(
    executor: Executor,
    journal: Journal,
    studies: Sequence[_Study],
    programs: Sequence[Sequence[Program]],
    seed: int,
    purpose: str,
    count: int,
) -> list[numpy.ndarray]:
    """Mean log validation losses of each study's programs; all jobs go out at once."""
    of: dict[str, list[Program]] = {}
    places = []
    for study, chosen in zip(studies, programs, strict=True):
        mine = of.setdefault(study.task, [])
        places.append(slice(len(mine), len(mine) + len(chosen)))
        mine.extend(chosen)
    fresh = {task: seeds(seed, task, purpose, count) for task in of}
    logs = measure(executor, journal, of, fresh, "validation")
    means = {task: values.mean(1) for task, values in logs.items()}
    found = [means[study.task][place] for study, place in zip(studies, places, strict=True)]
    return [numpy.where(numpy.isfinite(values), values, _FAILED) for values in found]


def _is_average(h: HyperParameter) -> bool:
    """Tell whether a constant is the memory of an average, of which the complement is drawn."""
    return h.name.startswith("beta") and 0 < h.value < 1


def _distribution(h: HyperParameter) -> FloatDistribution:
    size = abs(_drawn(h, h.value))
    low, high = size / _RANGE, size * _RANGE
    if h.name.startswith("weight_decay"):
        low, high = min(low, _DECAY[0]), max(high, _DECAY[1])
    if _is_average(h) or (h.name.startswith("one_minus") and size <= 1):
        high = min(high, 1.0)
    return FloatDistribution(low, high, log=True)


def _drawn(h: HyperParameter, value: float) -> float:
    """What Optuna draws for a value: its size, or the complement of an average's memory."""
    return 1 - value if _is_average(h) else abs(value)


def _value(h: HyperParameter, drawn: float) -> float:
    value = 1 - drawn if _is_average(h) else math.copysign(drawn, h.value)
    return round_constant(float(value))
