"""Real searches with a growing lag: what selection loses when it learns late."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optforge.analysis import live_program
from optforge.api.search import search
from optforge.evolution.history import History
from optforge.jobs import Silent
from optforge.language import Program
from optforge.tasks import load_task
from optforge.training import Stack, Trainee, one_thread, train_population
from optforge.tuning.baselines import shipped

_TASK = "mnist_mlp"
_FRESH = range(900_001, 900_025)  # seeds


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


def best_after(programs: int, lag: int, seed: int, workers: int | None) -> dict[str, float]:
    """Search on mnist_mlp from AdamW with matrices; measure the best on seeds that chose nothing.

    Returns:
        `fitness`, on the seeds of the search, and `fresh`, on others: mean log ratio of the
        validation loss to tuned AdamW's.
    """
    watch = _Until(programs)
    with TemporaryDirectory() as directory:
        result = search(
            [_TASK],
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
    leaders = history.leading(history.phase) or history.best
    best = min(leaders, key=lambda candidate: candidate.fitness)
    return {"fitness": best.fitness, "fresh": fresh_fitness(best.program)}


def fresh_fitness(program: Program) -> float:
    """Return the mean log ratio of a program's loss to tuned AdamW's, on fresh seeds."""
    adamw = shipped(load_task(_TASK), "adamw")
    assert adamw is not None
    ours = Trainee(live_program(program), adamw.trainee.schedule)
    stack = Stack(load_task(_TASK), compile=True)
    with one_thread():
        losses = train_population(stack, [ours, adamw.trainee], _FRESH).losses.log()
    return float((losses[0] - losses[1]).mean())


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
