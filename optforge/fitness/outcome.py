"""The result of a judgement, and the ranking of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The verdict on one program.

    Args:
        numeric_fingerprint: Fingerprint of its updates on fixed inputs.
        fitness: Mean over tasks and seeds of the log of validation loss over the baseline's
            loss on the same seed; lower is better; infinite for rejected programs.
        stage: Number of looks it passed (the probe and each position of the trace); 0 if the probe
            rejected it. Values are comparable only within a look: they are log training losses at
            checkpoints, but log ratios to the baseline at the ends of stages.
        stage_name: The stage in which it was rejected, or "judged".
        loss: The value at which it was rejected, or the fitness.
        audit_fitness: The fitness of a rejected program whose training continued for an audit;
            infinite if it diverged, None if there was no audit.
        state_bytes: Optimizer state per parameter, in bytes.
        live_statements: Number of live statements.
        scores: Log ratios on each task, one per seed.
        trace: Log training losses at checkpoints and running scores at the ends of stages.
        steps: Number of training steps.
        seconds: Seconds spent.
    """

    numeric_fingerprint: str
    fitness: float
    stage: int
    stage_name: str
    loss: float
    audit_fitness: float | None
    state_bytes: float
    live_statements: int
    scores: Mapping[str, tuple[float, ...]]
    trace: tuple[float, ...]
    steps: int
    seconds: float


Rank = tuple[float, float, float, float, float]


def rank(fitness: float, stage: int, loss: float, state_bytes: float, live_statements: int) -> Rank:
    """Return a key that sorts better candidates first.

    Fully judged candidates come first, by fitness. Then come rejected ones: those that got further
    first, and within a look by loss. Ties go to fewer state bytes, then to fewer live statements.

    Example:
        >>> judged, rejected = rank(0.5, 7, 0.5, 8.0, 9), rank(math.inf, 6, -1.0, 4.0, 3)
        >>> judged < rejected
        True
    """
    if math.isfinite(fitness):
        return (0.0, 0.0, fitness, state_bytes, float(live_statements))
    return (1.0, float(-stage), _last_if_nan(loss), state_bytes, float(live_statements))


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value
