"""Tuning of rules on tasks: the same things are tuned as for AdamW, in the same way."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optforge.analysis.hyperparameters import HyperParameter, lift
from optforge.language import Program, round_constant
from optforge.training import Trainee
from optforge.tuning.dimension import Dimension
from optforge.tuning.ranges import PLAIN_SHAPE, SEARCH_SHAPE, schedule_of
from optforge.tuning.space import Setting, Space
from optforge.tuning.trainees import Tunable

# What practitioners tune, as for the baselines. All constants at once are too many for the trials.
TUNED = ("lr", "beta", "one_minus_beta", "weight_decay", "momentum")
_RANGE = 8.0  # constants are tried up to so many times larger and smaller
_DECAY = 1e-4, 1.0  # the range that AdamW's decay is tuned over
_OWN = "rule_"  # before the names of a rule's constants, which are drawn in ways of their own


def fittable(program: Program, known: Sequence[Setting] = (PLAIN_SHAPE,)) -> Tunable:
    """Return a rule as a tunable: rate, decay, averages and the shape of the schedule.

    Args:
        program: The rule; its own constants are among the first settings.
        known: Schedules under which its own constants are tried.
    """
    lifted = lift(program)
    hyperparameters = {h.name: h for h in lifted.hyperparameters if h.value}
    if lifted.scale is None:  # then a rate multiplies the update from outside
        hyperparameters["lr"] = HyperParameter("lr", 1.0, ())
    constants = {_OWN + name: h for name, h in hyperparameters.items() if name.startswith(TUNED)}

    def build(setting: Setting) -> Trainee:
        drawn = dict(setting)
        values = {h.name: _value(h, drawn[name]) for name, h in constants.items()}
        return Trainee(lifted.with_values(values), schedule_of(setting))

    dimensions = [_dimension(name, h) for name, h in constants.items()]
    initial = [(name, _drawn(h, h.value)) for name, h in constants.items()]
    space = Space((*dimensions, *SEARCH_SHAPE), of_constants=True)
    return Tunable(space, build, tuple(tuple(sorted((*initial, *shape))) for shape in known))


def _is_average(h: HyperParameter) -> bool:
    """Return whether a constant is the decay of an average, whose complement is drawn."""
    return h.name.startswith("beta") and 0 < h.value < 1


def _dimension(name: str, h: HyperParameter) -> Dimension:
    size = abs(_drawn(h, h.value))
    low, high = size / _RANGE, size * _RANGE
    if h.name.startswith("weight_decay"):
        low, high = min(low, _DECAY[0]), max(high, _DECAY[1])
    if _is_average(h) or (h.name.startswith("one_minus") and size <= 1):
        high = min(high, 1.0)
    return Dimension(name, low, high)


def _drawn(h: HyperParameter, value: float) -> float:
    """Return the number drawn for a value: its size, or the complement of an average's decay."""
    return 1 - value if _is_average(h) else abs(value)


def _value(h: HyperParameter, drawn: float) -> float:
    value = 1 - drawn if _is_average(h) else math.copysign(drawn, h.value)
    return round_constant(float(value))
