"""Re-scoring the best on fresh seeds while the search goes on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optforge.evolution.history import History
from optforge.evolution.settings import Settings
from optforge.fitness import Measure
from optforge.language import parse
from optforge.runs import Event

_LEADERS = 4  # so many must have been measured on fresh seeds before nothing more is


def plan_rescore(
    settings: Settings,
    history: History,
    batch: int,
    seeds: Mapping[str, Sequence[int]],
    on_their_way: Collection[str | None] = (),
) -> tuple[str | None, list[Measure]]:
    """Decide whether one of the leaders is measured on fresh seeds together with this batch.

    Args:
        settings: Of the run.
        history: Of all committed batches.
        batch: Number of the batch.
        seeds: The fresh seeds of each task.
        on_their_way: Fingerprints that batches in flight measure.

    Returns:
        The leader's fingerprint and one job for each task, or nothing.
    """
    if batch % settings.rescore_every:
        return None, []
    leading = history.leading(history.phase)[:_LEADERS]
    measured = {*history.rescored, *on_their_way}
    leader = next((c for c in leading if c.fingerprint not in measured), None)
    if leader is None:
        return None, []
    program = parse(leader.text)
    jobs = [Measure((program,), task, tuple(seeds[task]), "validation") for task in settings.tasks]
    return leader.fingerprint, jobs


def rescore_events(flight: Any, baseline: Mapping[str, Sequence[float]]) -> list[Event]:
    """Turn the losses on fresh seeds into the event that the journal keeps."""
    if flight.rescored is None:
        return []
    means = []
    for place, measure in enumerate(flight.rescore, 1):
        (losses,) = flight.measured[place]
        ratios = [
            (math.log(loss) if loss > 0 else math.inf) - reference  # no loss is 0, nor is NaN
            for loss, reference in zip(losses, baseline[measure.task], strict=True)
        ]
        means.append(sum(ratios) / len(ratios))
    detail = {"fingerprint": flight.rescored, "fitness": sum(means) / len(means)}
    return [Event(flight.number, "rescore", detail)]
