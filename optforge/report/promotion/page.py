"""A funnel in words: its table, its verdict, its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optforge.promotion.cost import StageCost
from optforge.promotion.decision import PROMOTED
from optforge.promotion.result import Entrant, StageResult
from optforge.report.search.verdict import schedule_words
from optforge.report.text_table import TextTable
from optforge.report.words import duration, loss_change, percent
from optforge.tuning import TITLES, trainee_json

FUNNEL_JSON, FUNNEL_PAGE = "funnel.json", "funnel.md"  # files in the directory of a funnel
_CAPTION = (
    "Change of the validation loss against the baseline that was tuned alike, on fresh seeds, with "
    "95 % intervals; bold where the gain is certain with the correction for all candidates"
)


def funnel_table(results: Sequence[StageResult]) -> TextTable:
    """Return a table with a row for each candidate and a column for each stage.

    Args:
        results: The finished stages.
    """
    first = results[0].entrants if results else ()
    stages = [{e.candidate.number: e for e in result.entrants} for result in results]
    rows = (
        (
            str(entrant.candidate.number),
            f"{entrant.candidate.fitness:+.3f}",
            *(_cell(stage.get(entrant.candidate.number)) for stage in stages),
        )
        for entrant in first
    )
    heads = ("program", "in the search", *(result.name for result in results))
    return TextTable(_CAPTION, heads, tuple(rows))


def funnel_verdict(
    results: Sequence[StageResult], baseline: str, is_complete: bool, planned: int
) -> str:
    """Return what a funnel found, in a sentence or two.

    Args:
        results: The finished stages.
        baseline: Name of the optimizer to beat.
        is_complete: Whether it went to its end.
        planned: Number of stages.
    """
    if not is_complete:
        return f"{len(results)} of {planned} stages are finished; resume it with --resume."
    title, last = f"tuned {TITLES[baseline]}", results[-1]
    if not last.promoted:
        held = f"; {results[-2].promoted[0].candidate.number} got furthest" if results[1:] else ""
        return f"No candidate beats {title} on {last.name}{held}."
    best, names = last.promoted[0], [result.name for result in results]
    where = f"{names[0]}:" if len(names) == 1 else f"all of {', '.join(names)}; on the last:"
    return (
        f"Program {best.candidate.number} of the search beats {title} on {where} "
        f"{loss_change(best.judgement.effect)}, {best.judgement.seeds} fresh seeds."
    )


def best_entrant(results: Sequence[StageResult]) -> tuple[StageResult, Entrant] | None:
    """Return the best candidate of the last stage in which any was promoted, and that stage."""
    won = [result for result in results if result.promoted]
    return (won[-1], won[-1].promoted[0]) if won else None


def funnel_markdown(results: Sequence[StageResult], verdict: str, command: str) -> str:
    """Return the page of a funnel.

    Args:
        results: The finished stages.
        verdict: What it found.
        command: The command that made it.
    """
    table = funnel_table(results)
    lines = ["# Funnel", "", verdict, "", f"Made by `{command}`.", "", table.markdown(), ""]
    lines += [f"{table.title}.", ""]
    if (best := best_entrant(results)) is not None:
        stage, entrant = best
        lines += [f"## The rule, tuned for {stage.name}", "", "```python"]
        lines += [entrant.trainee.program.text.rstrip(), "```", ""]
        lines += [schedule_words(entrant.trainee), ""]
    return "\n".join(lines)


def funnel_json(results: Sequence[StageResult]) -> list[Mapping[str, Any]]:
    """Return the stages as values for JSON, without infinite numbers where they are unknown."""
    return [
        {
            "stage": result.name,
            "trials": result.trials,
            "baseline": trainee_json(result.baseline),
            "candidates": [
                {
                    "number": e.candidate.number,
                    "cluster_size": e.candidate.cluster_size,
                    "outcome": e.judgement.outcome,
                    "effect": e.judgement.effect,
                    "corrected_p_value": e.judgement.p_value,
                    "seeds": e.judgement.seeds,
                    "tuned": trainee_json(e.trainee),
                }
                for e in result.entrants
            ],
        }
        for result in results
    ]


def cost_table(costs: Sequence[StageCost], workers: int) -> TextTable:
    """Return a table of what each stage costs at most."""
    rows = tuple(
        (
            cost.name,
            str(cost.candidates),
            str(cost.trials),
            f"{cost.trainings:,}",
            "-" if cost.seconds is None else duration(cost.seconds / max(1, workers)),
        )
        for cost in costs
    )
    heads = ("<stage", "candidates", "trials each", "trainings", "time at most")
    return TextTable("What the funnel costs at most", heads, rows)


def cost_words(costs: Sequence[StageCost], workers: int) -> str:
    """Return the time that a funnel takes at most.

    Example:
        >>> cost_words([StageCost("a", 3, 16, 100, 3600.0)], 2)
        'at most 30 min on 2 workers'
    """
    who = f"{workers} worker{'s' if workers != 1 else ''}" if workers else "this process"
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    scripts = "" if len(known) == len(costs) else ", and the time of the scripts"
    return f"at most {duration(sum(known) / max(1, workers))} on {who}{scripts}"


def _cell(entrant: Entrant | None) -> str:
    if entrant is None:
        return "-"
    text = percent(entrant.judgement.effect)
    return f"**{text}**" if entrant.judgement.outcome == PROMOTED else text
