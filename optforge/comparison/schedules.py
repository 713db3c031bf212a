"""Schedules of the learning rate, as shares of its peak; `optforge.tasks.Schedule` shapes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optforge.tasks import schedule as cosine


def linear(step: int, steps: int, warmup: float = 0.1) -> float:
    """Return a linear warm-up to 1, then a line that would reach 0 one step after the last.

    Example:
        >>> [round(linear(step, 10, 0.2), 3) for step in (0, 1, 2, 9)]
        [0.5, 1.0, 0.889, 0.111]
    """
    peak = max(1, round(warmup * steps))
    if step < peak:
        return (step + 1) / peak
    return 1 - (step - peak + 1) / (steps - peak + 1)


def constant(step: int, steps: int, warmup: float = 0.1) -> float:
    """Return a linear warm-up to 1, then 1.

    Example:
        >>> [constant(step, 10, 0.2) for step in (0, 1, 9)]
        [0.5, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / max(1, round(warmup * steps)))


SCHEDULES: Mapping[str, Callable[[int, int, float], float]] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
}
