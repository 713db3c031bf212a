"""The winner of a search: simplified, and written next to the original rule."""

from __future__ import annotations

from optforge.ablation import SimpleRule, seconds_for, simplify_winner
from optforge.equality import update_picture
from optforge.errors import OptforgeError, StoppedError
from optforge.evolution.plan import SearchPlan
from optforge.jobs import Display, JobRunner, Store
from optforge.language import Program
from optforge.report.simplify.events import event_sentence
from optforge.report.simplify.files import PICTURE, simplify_files
from optforge.runs import RunDirectory
from optforge.runs.file_names import LOSSES


def simplify_and_write(
    plan: SearchPlan,
    directory: RunDirectory,
    runner: JobRunner,
    program: Program,
    searched: float,
    display: Display,
) -> SimpleRule | None:
    """Simplify the best rule of a run and write its files; None if that fails.

    A failure here loses the simple rule, but not the run.

    Args:
        plan: Plan of the run.
        directory: Directory of the run.
        runner: Runs the trainings.
        program: The best rule.
        searched: Length of the search in seconds, of which a share is used.
        display: Shows what happens.
    """
    store = Store(directory.path / LOSSES, plan.settings.compiled, plan.settings.device)
    seconds = seconds_for(searched)
    again = f"'optforge simplify {directory.path}' does it"
    try:
        rule = simplify_winner(
            plan, runner, store, program, seconds, lambda event: display.say(event_sentence(event))
        )
        write_simple_rule(rule, directory, picture=rule.trained is not None)
    except StoppedError:
        display.say(f"The winner was not simplified, as you stopped; {again}")
    except OptforgeError as error:
        display.say(f"The winner was not simplified ({error}); {again}")
    else:
        return rule
    return None


def write_simple_rule(rule: SimpleRule, directory: RunDirectory, picture: bool = True) -> None:
    """Write rule, JSON, page and picture (which takes a second) into the directory of a run."""
    for name, text in simplify_files(rule).items():
        directory.write_text(name, text)
    if picture:
        directory.write_bytes(PICTURE, update_picture(rule.program))
