"""Fitting rules to tasks: what of AdamW is tuned is tuned of them, in the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from numpy import ndarray
from optuna.distributions import FloatDistribution

from optforge.analysis.hyperparameters import HyperParameter, lift
from optforge.fitness import SCHEDULE, Losses, Parameters, Tunable, schedule_of
from optforge.jobs import Trainer
from optforge.language import Program, round_constant
from optforge.training import Trainee

# What practitioners tune, as for the baselines. All constants at once are too many for the trials.
TUNED = ("lr", "beta", "one_minus_beta", "weight_decay", "momentum")
_RANGE = 8.0  # constants are tried up to so many times larger and smaller
_DECAY = 1e-4, 1.0  # the range that AdamW's decay is tuned over
_OWN = "rule_"  # before the names of a rule's constants, which are drawn in ways of their own
_PLAIN: Parameters = {"warmup": 0.1, "decay_power": 1.0, "final_lr": 0.0}


def fittable(program: Program, known: Sequence[Parameters] = (_PLAIN,)) -> Tunable:
    """Return a rule as something to tune: rate, decay, averages and the shape of the schedule.

    Args:
        program: The rule; its own constants are among the settings that are tried first.
        known: Schedules under which these are tried.
    """
    lifted = lift(program)
    own = {h.name: h for h in lifted.hyperparameters if h.value}
    if lifted.scale is None:  # then a rate multiplies the update from outside
        own["lr"] = HyperParameter("lr", 1.0, ())
    constants = {name: h for name, h in own.items() if name.startswith(TUNED)}

    def build(setting: Parameters) -> Trainee:
        values = {name: _value(h, setting[_OWN + name]) for name, h in constants.items()}
        return Trainee(lifted.with_values(values), schedule_of(setting))

    space = {_OWN + name: _distribution(h) for name, h in constants.items()}
    given = {_OWN + name: _drawn(h, h.value) for name, h in constants.items()}
    return Tunable({**space, **SCHEDULE}, build, tuple({**given, **shape} for shape in known))


def losses_by(trainer: Trainer) -> Losses:
    """Return what trains candidates for a tuner, on seeds that nothing else uses."""

    def losses(
        candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
    ) -> dict[str, ndarray]:
        fresh = {task: trainer.seeds(task, f"fit, {purpose}", count) for task in candidates}
        return trainer.losses(candidates, fresh, "validation")

    return losses


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
    """What is drawn for a value: its size, or the complement of an average's memory."""
    return 1 - value if _is_average(h) else abs(value)


def _value(h: HyperParameter, drawn: float) -> float:
    value = 1 - drawn if _is_average(h) else math.copysign(drawn, h.value)
    return round_constant(float(value))
