"""Ranges by name: those of the schedule's shape and those written by users."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from optforge.errors import CompareError, real_number
from optforge.options import plain_value
from optforge.tasks import Schedule
from optforge.tuning.dimension import COMPLEMENT, MEMORY, Dimension
from optforge.tuning.space import Setting

_LONGEST = 1 - 1e-5  # an average over 100,000 steps; with 1 it would never take anything up
_BOUNDS = {
    "warmup": (0.0, 1.0, "a share of the steps from 0 to 1"),
    "decay_power": (0.0, math.inf, "a power above 0"),
    "final_lr": (0.0, 1.0, "a share of the peak from 0 to 1"),
}

# 0 is where most schedules end. A logarithmic scale never gets there and a continuous one almost
# never; of 16 levels it is one, and one of the 16 trials of a comparison has it.
SHAPE: Mapping[str, Dimension] = {
    dimension.name: dimension
    for dimension in (
        Dimension("warmup", 0.01, 0.3, floor=0.001, ceiling=0.5),
        Dimension("decay_power", 0.25, 2.0, floor=0.05, ceiling=8.0),
        Dimension("final_lr", 0.0, 0.3, log=False, ceiling=1.0, levels=16),
    )
}


# What a search tunes of the schedule, of every optimizer alike; nothing grows there.
SEARCH_SHAPE: tuple[Dimension, ...] = (
    Dimension("warmup", 0.01, 0.5),
    Dimension("decay_power", 0.2, 3.0),
    Dimension("final_lr", 0.0, 0.3, log=False),
)


def shape_setting(schedule: Schedule) -> Setting:
    """Return the setting that describes a schedule, the inverse of :func:`schedule_of`.

    Example:
        >>> shape_setting(Schedule(power=0.5))
        (('decay_power', 0.5), ('final_lr', 0.0), ('warmup', 0.1))
    """
    shape = schedule
    return (("decay_power", shape.power), ("final_lr", shape.final), ("warmup", shape.warmup))


PLAIN_SHAPE = shape_setting(Schedule())


def schedule_of(setting: Setting, default: Schedule | None = None) -> Schedule | None:
    """Return the schedule that a setting describes.

    Args:
        setting: Values by name.
        default: Schedule for values that the setting does not name; None to return a schedule only
            if the setting names one.

    Example:
        >>> schedule_of((("decay_power", 0.5), ("lr", 0.1)))
        Schedule(warmup=0.1, power=0.5, final=0.0)
    """
    fields = {"warmup": "warmup", "decay_power": "power", "final_lr": "final"}
    values = {fields[name]: value for name, value in setting if name in fields}
    return replace(default or Schedule(), **values) if values or default else None


def dimensions_from(
    ranges: Mapping[str, Sequence[float]], shape: Collection[str] = tuple(SHAPE)
) -> tuple[Dimension, ...]:
    """Return dimensions for a table of ranges, as in suites; all but final_lr are logarithmic.

    Args:
        ranges: Low and high ends by name.
        shape: Names that belong to the schedule; an optimizer may have its own ``final_lr``.

    Raises:
        CompareError: If a range is malformed or exceeds the limits of its name.

    Example:
        >>> dimensions_from({"lr": [1e-4, 1e-2]})[0].high
        0.01
    """
    if not isinstance(ranges, Mapping):
        raise CompareError(f"a space is {ranges!r}; write it as {{ lr = [1e-4, 1e-1] }}")
    dimensions = []
    for name, ends in ranges.items():
        ends = plain_value(ends)
        if not isinstance(ends, list | tuple) or len(ends) != 2:
            raise CompareError(f"the range of {name} is {ends!r}; give two numbers: [low, high]")
        low, high = (
            real_number(f"an end of the range of {name}", x, wrong=CompareError) for x in ends
        )
        if name in shape:
            dimensions.append(_shape_dimension(name, low, high))
        else:
            dimensions.append(Dimension(name, low, high, ceiling=_ceiling(name)))
    return tuple(dimensions)


def _shape_dimension(name: str, low: float, high: float) -> Dimension:
    least, most, meaning = _BOUNDS[name]
    if low < least or high > most:
        raise CompareError(f"the range of {name} is {low:g} to {high:g}; it is {meaning}")
    if name == "warmup":
        return Dimension(name, low, high, ceiling=most)
    known = SHAPE[name]
    return replace(
        known, low=low, high=high, floor=min(low, known.floor), ceiling=max(high, known.ceiling)
    )


def _ceiling(name: str) -> float:
    """Return the value above which a range never grows: there, the hyper-parameter is invalid."""
    if MEMORY.fullmatch(name):
        return _LONGEST
    return 1.0 if name.startswith(COMPLEMENT) else math.inf
