"""The winner of a search, simplified in the time that is left for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from optforge.ablation.files import write_files
from optforge.ablation.result import SimpleRule, describe
from optforge.ablation.rule_trainer import RuleTrainer
from optforge.ablation.train import Options, simplify_by_training
from optforge.equality.exact import Say, simplify_exact
from optforge.errors import OptforgeError, StoppedError
from optforge.evolution.plan import SearchPlan
from optforge.execution import Executor
from optforge.jobs import JobRunner, Store, Watch
from optforge.language import Program
from optforge.runs import RunDirectory
from optforge.runs.directory import LOSSES

SHARE = 0.1  # of the search's own time
LEAST_SECONDS = 180.0  # with less, training decides nothing
_WINDOW = 4  # jobs at once, so that little is lost when the time is up
_LOOKS, _REPEATS = (6, 12, 24, 48), 12
_WHAT = "Simplifying the winner"


def seconds_for(searched: float) -> float:
    """Give the time for training to simplify, after a search of so many seconds.

    Example:
        >>> seconds_for(360.0), seconds_for(3600.0)
        (0.0, 360.0)
    """
    seconds = SHARE * searched
    return seconds if seconds >= LEAST_SECONDS else 0.0


def simplify_winner(
    made: SearchPlan,
    directory: RunDirectory,
    executor: Executor,
    program: Program,
    seconds: float,
    watch: Watch = lambda what, done, total: None,
    say: Say = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
) -> SimpleRule:
    """Simplify the best rule of a run, and write what was found beside it.

    Without time for training only the exact steps are taken; ``optforge simplify`` with the
    directory of the run goes on from there.

    Args:
        made: Of the run.
        directory: Takes the files.
        executor: Idle.
        program: The winner.
        seconds: That it may take.
        watch: Told the progress.
        say: Told what is found.
        stop: Asked now and then whether to stop.

    Raises:
        SimplifyError: If the check of a step fails.
        StoppedError: If a stop is asked for.
    """
    begin = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        watch(_WHAT, min(int(time.monotonic() - begin), int(seconds)), max(1, int(seconds)))

    if seconds < LEAST_SECONDS:
        found = describe(simplify_exact(program, say=say))
    else:
        store = Store(directory.path / LOSSES, made.settings.compiled)
        runner = JobRunner(executor, watch=progress, stop=stop, window=_WINDOW)
        trainer = RuleTrainer.of(made.tasks, runner, store, made.settings.seed, made.schedules)
        options = Options(minutes=seconds / 60, looks=_LOOKS, repeats=_REPEATS)
        found = describe(*simplify_by_training(program, trainer, options, say=say))
    write_files(found, directory, picture=found.trained is not None)
    return found


def try_simplify(
    made: SearchPlan,
    directory: RunDirectory,
    executor: Executor,
    program: Program,
    seconds: float,
    watch: Watch,
    say: Say,
    stop: Callable[[], bool],
) -> SimpleRule | None:
    """Simplify the best rule of a run; what goes wrong costs the simple rule, not the run."""
    again = f"'optforge simplify {directory.path}' does it"
    try:
        return simplify_winner(made, directory, executor, program, seconds, watch, say, stop)
    except StoppedError:
        say(f"The winner was not simplified, as you stopped; {again}")
    except OptforgeError as error:
        say(f"The winner was not simplified ({error}); {again}")
    return None
