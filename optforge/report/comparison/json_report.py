"""The report of a comparison as JSON-serializable values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optforge.comparison import (
    CellResult,
    Comparison,
    Findings,
    compare_pairs,
    extra_pairs,
    map_pairs,
    mean_pairs,
    optima,
    score_findings,
    summaries,
)
from optforge.comparison.figures.tuning_variation import compare_halves
from optforge.comparison.recipes.recipe import ranges_of
from optforge.comparison.result import Trial
from optforge.report.comparison.ranges import final_ranges, uneven
from optforge.report.json_values import plain


def to_json(
    comparison: Comparison, findings: Findings, sessions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a comparison as JSON-serializable values; numbers that are not finite become None."""
    scores = {unit: score_findings(findings, unit) for unit in ("seconds", "steps")}
    ranges = final_ranges(findings)
    content = {
        "title": comparison.title,
        "claim": comparison.claim,
        "baseline": findings.baseline,
        "settings": comparison.settings.stored(),
        "ranges": {recipe.name: ranges_of(recipe) for recipe in comparison.tuned_recipes},
        "tasks": {
            result.variant.label: {
                "axes": dict(result.variant.axes),
                "steps": result.variant.task.steps,
                "batch_size": result.variant.task.batch_size,
                "hash": result.variant.task.hash,
                "target": result.target,
                "target_derived": result.derived,
                "seeds": list(result.seeds),
                "runs": {name: _runs(tuned.finals) for name, tuned in result.tuned.items()},
                "map": {name: _points(tuned.heat_map) for name, tuned in result.tuned.items()},
                "curve": {name: _points(tuned.sensitivity) for name, tuned in result.tuned.items()},
            }
            for result in findings.tasks
        },
        "optimizers": [
            {**plain(summary), "ranges": ranges[summary.task, summary.recipe]}
            for summary in summaries(findings)
        ],
        "uneven_ranges": list(uneven(findings)),
        "luck": list(compare_halves(findings)),
        "pairs": [{**plain(pair), "verdict": pair.verdict} for pair in compare_pairs(findings)],
        "means": [{**plain(pair), "verdict": pair.verdict} for pair in mean_pairs(findings)],
        "measured": extra_pairs(findings),
        "maps": map_pairs(findings),
        "optima": optima(findings),
        "time_to_target": {unit: s for unit, s in scores.items() if s is not None},
        "one_setting": [{**plain(row), "speed": row.speed} for row in findings.one_setting],
        "sessions": distinct(sessions),
    }
    return plain(content)


def _runs(finals: Sequence[CellResult]) -> list[dict[str, Any]]:
    """Return the final runs in the order of the seeds."""
    names = ("loss", "metric", "test_loss", "test_metric", "diverged", "failed", "steps", "extras")
    return [{name: getattr(run, name) for name in names} for run in finals]


def _points(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return the points of a map or a curve, with the validation loss of each seed."""
    return [
        {"setting": dict(trial.setting), "loss": [_loss(o) for o in trial.outcomes]}
        for trial in trials
    ]


def _loss(outcome: CellResult) -> float:
    return math.nan if outcome.diverged or outcome.failed else outcome.loss


def distinct(sessions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the sessions without duplicates."""
    different: list[Mapping[str, Any]] = []
    for session in sessions:
        if session not in different:
            different.append(session)
    return different
