"""The jobs that an evaluator answers: judge programs, or measure them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from optforge.fitness.outcome import Outcome
from optforge.language import Program
from optforge.training import ProgramOrTrainee

KILLER = "killed its worker"  # the stage of a program that ends its workers


@dataclass(frozen=True)
class Judge:
    """A job: judge these programs.

    Args:
        programs: Candidates.
        hurdles: For each position of a trace the largest value with which a candidate goes on.
        audits: For each program whether it runs to the end even if it is rejected.
        given: Whether the programs were given, not proposed: then the probe rejects none, for
            a rule that is known to train may look hopeless in its first steps.
    """

    programs: tuple[Program, ...]
    hurdles: tuple[float, ...]
    audits: tuple[bool, ...]
    given: bool = False

    def parts(self) -> list[Judge]:
        """Return the job of each program alone."""
        both = zip(self.programs, self.audits, strict=True)
        return [replace(self, programs=(p,), audits=(audit,)) for p, audit in both]

    def joined(self, results: Sequence[list[Outcome]]) -> list[Outcome]:
        """Return the verdicts of all parts, in their order."""
        return [outcome for result in results for outcome in result]

    def lost(self, failure: object) -> list[Outcome]:
        """Return the worst verdict, for a program that ends its workers."""
        worst = Outcome(
            numeric_fingerprint="",
            fitness=math.inf,
            stage=-1,  # below what the probe rejects
            stage_name=KILLER,
            loss=math.inf,
            audit_fitness=None,
            state_bytes=math.inf,
            live_statements=0,
            scores={},
            trace=(),
            steps=0,
            seconds=0.0,
        )
        return [worst]


@dataclass(frozen=True)
class Measure:
    """A job: train these programs on these seeds and measure them on one split.

    Programs without a schedule of their own train under that which the evaluator has for the task.
    """

    programs: tuple[ProgramOrTrainee, ...]
    task: str
    seeds: tuple[int, ...]
    split: str

    def parts(self) -> list[Measure]:
        """Return the job of each program alone."""
        return [replace(self, programs=(program,)) for program in self.programs]

    def joined(self, results: Sequence[list[list[float]]]) -> list[list[float]]:
        """Return the losses of all parts, in their order."""
        return [losses for result in results for losses in result]

    def lost(self, failure: object) -> list[list[float]]:
        """Return infinite losses, for a program that ends its workers."""
        return [[math.inf] * len(self.seeds)]
