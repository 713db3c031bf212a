"""The jobs of an evaluator: judge programs, or measure them."""

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
    """A job that judges programs.

    Args:
        programs: The candidates.
        hurdles: Largest value, at each position of a trace, with which a candidate continues.
        audits: Whether each program runs to the end even if it is rejected.
        given: Whether the programs were given and not proposed. Then the probe rejects none,
            because a rule that is known to train may look hopeless in its first steps.
        seed_set: Which set of the training seeds, each as large as the stages need.
    """

    programs: tuple[Program, ...]
    hurdles: tuple[float, ...]
    audits: tuple[bool, ...]
    given: bool = False
    seed_set: int = 0

    def parts(self) -> list[Judge]:
        """Return one job for each program."""
        both = zip(self.programs, self.audits, strict=True)
        return [replace(self, programs=(p,), audits=(audit,)) for p, audit in both]

    def joined(self, results: Sequence[list[Outcome]]) -> list[Outcome]:
        """Return the verdicts of all parts, in order."""
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
    """A job that trains programs on given seeds and measures them on one split.

    Programs without their own schedule train under the evaluator's schedule for the task.
    """

    programs: tuple[ProgramOrTrainee, ...]
    task: str
    seeds: tuple[int, ...]
    split: str

    def parts(self) -> list[Measure]:
        """Return one job for each program."""
        return [replace(self, programs=(program,)) for program in self.programs]

    def joined(self, results: Sequence[list[list[float]]]) -> list[list[float]]:
        """Return the losses of all parts, in order."""
        return [losses for result in results for losses in result]

    def lost(self, failure: object) -> list[list[float]]:
        """Return infinite losses, for a program that ends its workers."""
        return [[math.inf] * len(self.seeds)]
