"""``optforge explain``: what of a find would anybody get who tunes AdamW?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from optforge.api.explanation import explain as run_explain
from optforge.cli.console import screen
from optforge.cli.explained import print_explanation
from optforge.cli.options import Force, Json, PlainDebug
from optforge.cli.stopping import Stopping
from optforge.cli.trials import TrialsDisplay
from optforge.errors import StoppedError
from optforge.files import split_list
from optforge.report.search.explanation import explanation_json
from optforge.tasks import load_task

STOPPED = 130


def explain(
    run: Annotated[Path, typer.Argument(help="The directory of a run that has finished.")],
    trials: Annotated[
        int | None,
        typer.Option(
            help="Tune each thing anew, by so many settings a task. [dim]Default: the settings "
            "shipped for the tasks of the run, or as many trials as its table had.[/]",
            show_default=False,
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="The run's own tasks as file.py:Class, separated by commas.", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes, 0 for this one alone. [dim]Default: one a core.[/]",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    debug: PlainDebug = False,
) -> None:
    """Tell which single thing that anybody may tune would explain what a search found.

    AdamW is tuned with its rate and one thing more: decay, averages, bias correction, schedule,
    clipping, epsilon, averaged weights; then with all of them. Beside each stands what is left of
    the rule's gain.
    """
    del debug
    own = [load_task(name) for name in split_list(tasks or "")]
    with Stopping() as stopping, TrialsDisplay(terminal_only=as_json) as display:
        stopping.armed = True
        try:
            found = run_explain(
                run,
                trials=trials,
                tasks=own,
                workers=workers,
                force=force,
                display=display,
                stop=stopping,
            )
        except (StoppedError, KeyboardInterrupt):
            found = None
    if found is None:
        text = "Stopped; the run is as it was. The same command begins again"
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
        raise typer.Exit(STOPPED)
    if as_json:
        typer.echo(json.dumps(explanation_json(found), indent=2))
    else:
        print_explanation(found, screen())
