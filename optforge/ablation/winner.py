"""Simplification of a search's winner in the time that is left."""

from __future__ import annotations

import time
from dataclasses import replace

from optforge.ablation.events import Tell
from optforge.ablation.result import SimpleRule, describe
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.ablation.train import Options, simplify_by_training
from optforge.equality.exact import simplify_exact
from optforge.evolution.plan import SearchPlan
from optforge.jobs import JobRunner, Store
from optforge.language import Program

SHARE = 0.1  # of the search's own time
LEAST_SECONDS = 180.0  # with less, training decides nothing
_WINDOW = 4  # jobs at once, so that little is lost when the time is up
_LOOKS, _REPEATS = (6, 12, 24, 48), 12
_WHAT = "Simplifying the winner"


def seconds_for(searched: float) -> float:
    """Return the seconds of training for simplification after a search of the given length.

    Example:
        >>> seconds_for(360.0), seconds_for(3600.0)
        (0.0, 360.0)
    """
    seconds = SHARE * searched
    return seconds if seconds >= LEAST_SECONDS else 0.0


def simplify_winner(
    plan: SearchPlan,
    runner: JobRunner,
    store: Store,
    program: Program,
    seconds: float,
    say: Tell = lambda message: None,
) -> SimpleRule:
    """Simplify the best rule of a run.

    Without time for training, only the exact steps are taken; ``optforge simplify`` with the
    directory of the run continues from there.

    Args:
        plan: Plan of the run.
        runner: Runs the trainings; its display shows the time.
        store: Store of the run's losses.
        program: The winner.
        seconds: Seconds of training that it may take, as of :func:`seconds_for`.
        say: Called with each event.

    Raises:
        SimplifyError: If the check of a step fails.
        StoppedError: If a stop is requested.
    """
    if not seconds:
        return describe(simplify_exact(program, say=say))
    begin = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        runner.watch(_WHAT, min(int(time.monotonic() - begin), int(seconds)), max(1, int(seconds)))

    timed = replace(runner, journal=None, watch=progress, window=_WINDOW)
    trainer = RuleTrainer.of(plan.tasks, timed, store, plan.settings.seed, plan.schedules)
    options = Options(minutes=seconds / 60, looks=_LOOKS, repeats=_REPEATS)
    return describe(*simplify_by_training(program, trainer, options, say=say))
