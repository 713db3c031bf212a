"""Figure 1: programs generated a second; and the memory of a long search."""

from __future__ import annotations

from typing import Any

import torch

from optforge.cli import collect_rarely
from optforge.evolution.history import History

from .machine import resident_mb
from .stub import StubRun


def generating(seed: int, before: int, timed: int) -> dict[str, float]:
    """Drive a search over `before` programs, then time the drawing of the next `timed`.

    Drawing is mutate, check, liveness, fingerprint and look up; commits are timed apart.
    """
    torch.set_num_threads(1)
    collect_rarely()  # as the command line has it
    with StubRun(seed) as run:
        warmed = False

        def stop(history: History) -> bool:
            nonlocal warmed
            if not warmed and history.tally.proposals >= before:
                warmed = True
                run.costs.clear()
            return warmed and run.costs.drawn >= timed and run.costs.committed >= timed / 2

        run.run(stop)
        members = [m.genome.program for m in set(run.search.history.population.members)]
        costs = run.costs
        return {
            "generated_per_second": costs.drawn / costs.drawing,
            "commit_microseconds": 1e6 * costs.committing / costs.committed,
            "cache_share": costs.cached / costs.drawn,
            "statements_mean": sum(len(m.statements) for m in members) / len(members),
            "programs_timed": costs.drawn,
        }


def memory(seed: int, marks: tuple[int, ...]) -> dict[str, Any]:
    """Drive a search to the last mark and read the memory of its process at each."""
    torch.set_num_threads(1)
    collect_rarely()
    found: dict[int, float] = {}
    with StubRun(seed) as run:
        at_start = resident_mb()

        def stop(history: History) -> bool:
            for mark in marks:
                if history.tally.proposals >= mark:
                    found.setdefault(mark, resident_mb())
            return len(found) == len(marks)

        run.run(stop)
        known = len(run.search.history.known)
    return {
        "search_start_mb": at_start,
        "search_mb": {str(mark): value for mark, value in found.items()},
        "fingerprints_known": known,
    }
