"""The report of a comparison: Markdown, JSON and figures in its directory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optforge.compare import (
    Comparison,
    Found,
    Outcome,
    compare_pairs,
    extra_pairs,
    map_pairs,
    optima,
    score_found,
    summaries,
)
from optforge.compare.recipe import ranges_of
from optforge.compare.result import Trial
from optforge.errors import CompareError
from optforge.report.comparison_figures import draw_figures
from optforge.report.comparison_tables import all_tables

REPORT_JSON, REPORT_MARKDOWN = "report.json", "report.md"


def write_report(
    comparison: Comparison,
    found: Found,
    sessions: Sequence[Mapping[str, Any]],
    path: Path,
    figures: bool = True,
) -> None:
    """Write everything that was found; files are replaced as wholes.

    Args:
        comparison: What was compared.
        found: What came out.
        sessions: Machines and versions, from the table of cells.
        path: A directory.
        figures: Whether to draw.
    """
    told = to_json(comparison, found, sessions)
    _write(path / REPORT_JSON, (json.dumps(told, indent=1) + "\n").encode())
    drawn = dict(draw_figures(found)) if figures else {}
    for name, content in drawn.items():
        _write(path / name, content)
    text = to_markdown(comparison, found, sessions, list(drawn))
    _write(path / REPORT_MARKDOWN, text.encode())


def to_markdown(
    comparison: Comparison,
    found: Found,
    sessions: Sequence[Mapping[str, Any]],
    figures: Sequence[str] = (),
) -> str:
    """The report as one page."""
    settings = comparison.settings
    parts = [f"# {comparison.title or 'Comparison of optimizers'}"]
    if comparison.claim:
        parts.append(f"Put to the test: {comparison.claim}")
    parts.append(
        f"{settings.trials} trials for each optimizer and task ({settings.sampler}, tuned: "
        f"{', '.join(settings.tune)}), chosen by validation {settings.objective}, the best "
        f"{settings.finalists} trained again on {settings.again} seeds; {settings.seeds} fresh "
        "seeds for the figures, the same initial weights and batches for all; test data once."
    )
    for table in all_tables(found):
        parts += [f"{table.title}.", table.markdown()]
    parts += [f"![{name}]({name})" for name in figures]
    parts.append("Ranges: " + "; ".join(_ranges(comparison)) + ".")
    parts.append(f"Fresh seeds: {_seeds(found)}.")
    parts.append("Made with: " + "; ".join(_session(one) for one in _distinct(sessions)) + ".")
    return "\n\n".join(parts) + "\n"


def to_json(
    comparison: Comparison, found: Found, sessions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Everything as plain values; what is not finite is null."""
    scores = {unit: score_found(found, unit) for unit in ("seconds", "steps")}
    content = {
        "title": comparison.title,
        "claim": comparison.claim,
        "baseline": found.baseline,
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
                "runs": {name: _runs(of.finals) for name, of in result.tuned.items()},
                "map": {name: _points(of.heat_map) for name, of in result.tuned.items()},
                "curve": {name: _points(of.sensitivity) for name, of in result.tuned.items()},
            }
            for result in found.tasks
        },
        "optimizers": [asdict(one) for one in summaries(found)],
        "pairs": [{**asdict(pair), "verdict": pair.verdict} for pair in compare_pairs(found)],
        "measured": [asdict(one) for one in extra_pairs(found)],
        "maps": [asdict(one) for one in map_pairs(found)],
        "optima": [asdict(one) for one in optima(found)],
        "time_to_target": {unit: asdict(s) for unit, s in scores.items() if s is not None},
        "sessions": [dict(one) for one in _distinct(sessions)],
    }
    return _plain(content)


def _runs(finals: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The final runs in the order of the seeds."""
    names = ("loss", "metric", "test_loss", "test_metric", "diverged", "failed", "steps", "extras")
    return [{name: getattr(one, name) for name in names} for one in finals]


def _points(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """The points of a map or a curve, with the validation loss of each seed."""
    return [
        {"setting": dict(trial.setting), "loss": [_loss(o) for o in trial.outcomes]}
        for trial in trials
    ]


def _loss(outcome: Outcome) -> float:
    return math.nan if outcome.diverged or outcome.failed else outcome.loss


def _seeds(found: Found) -> str:
    told = {result.variant.task.name: result.seeds for result in found.tasks}
    return "; ".join(f"{name}: {', '.join(map(str, seeds))}" for name, seeds in told.items())


def _ranges(comparison: Comparison) -> list[str]:
    return [
        f"{recipe.name}: "
        + ", ".join(f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in ranges.items())
        for recipe in comparison.tuned_recipes
        for ranges in (ranges_of(recipe),)
    ]


def _session(session: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in session.items() if value != "")


def _distinct(sessions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for session in sessions:
        if session not in found:
            found.append(session)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise CompareError(f"{path} was not written: {error.strerror}") from error
