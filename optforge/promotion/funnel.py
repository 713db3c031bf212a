"""The funnel: tune all alike, judge on fresh seeds, promote what beats the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
from numpy import ndarray

from optforge.jobs import Trainer
from optforge.promotion.candidates import FunnelCandidate
from optforge.promotion.decision import OPEN, CandidateStanding, judge
from optforge.promotion.record import Record
from optforge.promotion.result import Entrant, StageResult
from optforge.promotion.stage import Stage
from optforge.tasks import Schedule
from optforge.training import Trainee
from optforge.tuning import (
    PLAIN_SHAPE,
    Losses,
    Setting,
    TrainingProgress,
    Tunable,
    Tuned,
    Watch,
    fittable,
    losses_by,
    shape_setting,
    trainee_json,
    tunable,
    tune_together,
)

JOB_SECONDS = 60.0  # of one job, roughly: small, so that little is lost by a stop


@dataclass(frozen=True)
class Funnel:
    """A funnel of stages.

    Source: "Symbolic Discovery of Optimization Algorithms", section 2.3, with paired tests in the
    place of a choice by rank.

    Args:
        stages: The stages, the cheapest first.
        baseline: Optimizer to beat: ``adamw``, ``lion`` or ``muon``.
        alpha: Chance of any wrong promotion in a stage.
        trainer: Trains on the sources of all stages.
        record: Takes every decision.
        seconds: Seconds of one training on each source, where known.
        watch: Display of the work.
    """

    stages: Sequence[Stage]
    baseline: str
    alpha: float
    trainer: Trainer
    record: Record
    seconds: Mapping[str, float | None]
    watch: Watch

    def run(
        self,
        candidates: Sequence[FunnelCandidate],
        schedules: Sequence[Setting] = (PLAIN_SHAPE,),
        known: Sequence[Setting] = (),
    ) -> Iterator[StageResult]:
        """Yield the result of each stage, until nothing is promoted or the last one is over.

        Args:
            candidates: The candidates, the best first.
            schedules: Schedules under which the constants of candidates are tried first.
            known: Settings of the baseline that are tried first.
        """
        self.record.note("candidates", 0, {"numbers": [c.number for c in candidates]})
        entering = [(c, fittable(c.program, schedules)) for c in candidates]
        for number, stage in enumerate(self.stages):
            entering = entering[: stage.keep]
            baseline = replace(tunable(self.baseline), known=tuple(known))
            result, known = self._stage(number, entering, baseline)
            yield result
            entering = [
                (e.candidate, fittable(e.trainee.program, _schedules(e.trainee)))
                for e in result.promoted
            ]
            if not entering:
                break

    def _stage(
        self,
        number: int,
        entering: Sequence[tuple[FunnelCandidate, Tunable]],
        baseline: Tunable,
    ) -> tuple[StageResult, tuple[Setting, ...]]:
        stage = self.stages[number]
        losses = self._losses(number, len(entering))
        jobs = [(rule, [stage.name]) for rule in (baseline, *(rule for _, rule in entering))]
        best, *tuned = tune_together(jobs, losses, stage.effort)
        self.record.note("tuned", number, {"settings": [_setting(t) for t in (best, *tuned)]})
        judgements = self._judge(number, [best, *tuned], losses)
        entrants = tuple(
            Entrant(candidate, rule.trainee, rule.loss, judgement)
            for (candidate, _), rule, judgement in zip(entering, tuned, judgements, strict=True)
        )
        result = StageResult(stage.name, best.trainee, entrants, stage.trials)
        promoted = [entrant.candidate.number for entrant in result.promoted]
        self.record.note("end", number, {"promoted": promoted})
        return result, (tuple(sorted(best.parameters.items())),)

    def _judge(
        self, number: int, tuned: Sequence[Tuned], losses: Losses
    ) -> list[CandidateStanding]:
        """Judge candidates (all but the first) on fresh seeds, look by look."""
        stage, before, logs = self.stages[number], 0, numpy.empty((len(tuned), 0))
        judgements: list[CandidateStanding] = []
        for look, seeds in enumerate(stage.looks):
            left = [n for n in range(len(tuned) - 1) if not judgements or _is_open(judgements[n])]
            if not left:
                break
            rows = [0, *(n + 1 for n in left)]
            trainees = {stage.name: [tuned[row].trainee for row in rows]}
            fresh = numpy.full((len(tuned), seeds - before), numpy.nan)
            fresh[rows] = losses(trainees, f"judge {look}", seeds - before)[stage.name]
            logs, before = numpy.concatenate([logs, fresh], 1), seeds
            chosen = [logs[n + 1] if n in left else None for n in range(len(tuned) - 1)]
            judgements = judge(logs[0], chosen, stage.looks, self.alpha, judgements)
            self.record.note("look", number, _look(seeds, logs, judgements))
        return judgements

    def _losses(self, number: int, candidates: int) -> Losses:
        """Return what trains in a stage, on seeds of its own, in jobs of a minute or so."""
        stage = self.stages[number]
        seconds = self.seconds.get(stage.name) or JOB_SECONDS
        self.trainer.programs_a_job = max(1, min(8, int(JOB_SECONDS / seconds)))
        self.trainer.seeds_a_job = max(1, min(3, int(JOB_SECONDS / seconds / 8)))
        what = f"Stage {number + 1} of {len(self.stages)}, {stage.name}: {candidates} candidates"
        total = stage.trainings(candidates)
        progress = TrainingProgress(self.trainer, self.watch, what, total)
        return progress.counting(losses_by(self.trainer, f"funnel {number} "))


def _schedules(trainee: Trainee) -> tuple[Setting, ...]:
    shape = shape_setting(trainee.schedule or Schedule())
    return tuple(dict.fromkeys((shape, PLAIN_SHAPE)))


def _is_open(judgement: CandidateStanding) -> bool:
    return judgement.outcome == OPEN


def _setting(tuned: Tuned) -> dict[str, Any]:
    return {**trainee_json(tuned.trainee), "loss": tuned.loss}


def _look(seeds: int, logs: ndarray, judgements: Sequence[CandidateStanding]) -> dict[str, Any]:
    return {
        "seeds": seeds,
        "baseline": logs[0].tolist(),
        "candidates": [
            {"outcome": j.outcome, "mean": j.effect.mean, "p_value": j.p_value, "seeds": j.seeds}
            for j in judgements
        ],
    }
