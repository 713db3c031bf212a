"""The state of a program during its judgement, until it is rejected or judged in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optforge.analysis import cost
from optforge.fitness.outcome import Outcome
from optforge.fitness.probe import probe
from optforge.fitness.stages import JUDGED, PROBE, Stage
from optforge.language import Program


@dataclass
class Judgement:
    """Everything known about a program so far.

    Args:
        lean: The program without dead code.
        numeric: Its numeric fingerprint.
        audited: Whether it is trained to the end even if it is rejected.
        scores: Log ratios to the baseline on each task, seed by seed.
        trace: Log training losses at checkpoints and running scores at the ends of stages.
        rejected: Where it was rejected: looks passed, name of the stage, value; None if it was not.
        went_on: Whether its training continued after that.
        running: Whether it continues.
        steps: Number of training steps so far.
        seconds: Seconds spent so far.
    """

    lean: Program
    numeric: str
    audited: bool
    scores: dict[str, list[float]] = field(default_factory=dict)
    trace: list[float] = field(default_factory=list)
    rejected: tuple[int, str, float] | None = None
    went_on: bool = False
    running: bool = True
    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, lean: Program, audited: bool, given: bool) -> Judgement:
        """Probe a program; the probe does not reject a given one."""
        result = probe(lean)
        judgement = cls(lean, result.numeric, audited)
        if result.reason is not None and not given:
            value = math.inf if result.reason in ("not finite", "constant") else 0.0
            judgement.fail(0, f"{PROBE}: {result.reason}", value, trainable=True)
        return judgement

    def fail(self, stage: int, name: str, value: float, trainable: bool) -> None:
        """Reject at the first failure; an audited program continues while it can be trained."""
        self.running = self.audited and trainable
        if self.rejected is None:
            self.rejected = (stage, name, value)
            self.went_on = self.running

    def note(self, stage: Stage, position: int, value: float, hurdles: Sequence[float]) -> None:
        """Record the value at a position of the trace; reject if it exceeds the hurdle."""
        self.trace.append(value)
        limit = hurdles[position] if position < len(hurdles) else math.inf
        finite = math.isfinite(value)
        if not value <= limit or not finite:
            self.fail(position + 1, stage.name, value if finite else math.inf, finite)

    def finish(self, stage: Stage, ratios: Sequence[float], hurdles: Sequence[float]) -> None:
        """Record the log ratios to the baseline at the end of a stage."""
        self.scores.setdefault(stage.task, []).extend(ratios)
        self.note(stage, stage.last, _mean_over_tasks(self.scores), hurdles)

    def outcome(self, last: Stage) -> Outcome:
        """Return the verdict, after the last stage."""
        complete = self.running and bool(self.scores)
        fitness = _mean_over_tasks(self.scores) if complete else math.inf
        stage, name, value = self.rejected or (last.last + 2, JUDGED, fitness)
        return Outcome(
            numeric_fingerprint=self.numeric,
            fitness=fitness if self.rejected is None else math.inf,
            stage=stage,
            stage_name=name,
            loss=value,
            audit_fitness=fitness if self.went_on else None,
            state_bytes=cost(self.lean).state_bytes,
            live_statements=len(self.lean.statements),
            scores={task: tuple(values) for task, values in self.scores.items()},
            trace=tuple(self.trace),
            steps=self.steps,
            seconds=self.seconds,
        )


def _mean_over_tasks(scores: Mapping[str, Sequence[float]]) -> float:
    """Return the mean over tasks of the mean over seeds, which gives each task equal weight."""
    means = [sum(values) / len(values) for values in scores.values()]
    return sum(means) / len(means)
