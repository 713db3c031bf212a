"""Re-scoring the best on fresh seeds while the search goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optforge.fitness import Measure
from optforge.language import parse
from optforge.runs import Event
from optforge.search.history import History
from optforge.search.settings import Settings


def plan_rescore(
    settings: Settings, history: History, batch: int, seeds: Mapping[str, Sequence[int]]
) -> tuple[str | None, list[Measure]]:
    """Decide whether the leader is measured on fresh seeds together with this batch.

    Returns:
        The leader's fingerprint and one job for each task, or nothing.
    """
    leading = history.leading(history.phase)
    if batch % settings.rescore_every or not leading:
        return None, []
    leader = leading[0]
    if leader.fingerprint in history.rescored:
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
            (math.log(loss) if loss > 0 else -math.inf) - reference
            for loss, reference in zip(losses, baseline[measure.task], strict=True)
        ]
        means.append(sum(ratios) / len(ratios))
    detail = {"fingerprint": flight.rescored, "fitness": sum(means) / len(means)}
    return [Event(flight.number, "rescore", detail)]
