"""Real searches with a growing lag: what selection loses when it learns late."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optforge.api.search import search
from optforge.evolution.history import History
from optforge.jobs import Silent


class _Until(Silent):
    """Ends a search after so many programs, before its final measurements."""

    def __init__(self, programs: int) -> None:
        self.programs, self.done = programs, False

    def show(self, *state: object) -> None:
        (history,) = state
        assert isinstance(history, History)
        self.done = history.tally.proposals >= self.programs

    def ended(self) -> bool:
        return self.done


def best_after(programs: int, lag: int, seed: int, workers: int | None) -> dict[str, Any]:
    """Search on mnist_mlp from AdamW with matrices; return the best on fresh seeds.

    Returns:
        `fitness`, on the seeds of the search, and `fresh`, on fresh ones: mean log ratio of the
        validation loss to tuned AdamW's.
    """
    watch = _Until(programs)
    with TemporaryDirectory() as directory:
        result = search(
            ["mnist_mlp"],
            out=Path(directory) / "run",
            held_out=(),
            programs=10 * programs,  # the watcher ends it
            constants_programs=0,
            functions="paper,matrices",
            population=200,
            tournament=6,
            seed=seed,
            lag=lag,
            workers=workers,
            compile=True,
            watch=watch,
            stop=watch.ended,
        )
    history = result.history
    best = history.incumbent(history.phase)
    assert best is not None
    return {"fitness": best.fitness, "fresh": history.rescored.get(best.fingerprint)}


def lag_study(
    programs: int, lags: Sequence[int], seeds: Sequence[int], kept: dict[str, Any], save: Any
) -> None:
    """Fill in what is missing of a table of searches, and save after each.

    Args:
        programs: Programs of each search.
        lags: Batches on their way at once.
        seeds: Seeds of the searches, the same for each lag.
        kept: Results by `lag/seed`; filled in.
        save: Called after each search.
    """
    for seed in seeds:
        for lag in lags:
            if (name := f"{lag}/{seed}") not in kept:
                kept[name] = best_after(programs, lag, seed, None)
                save()
