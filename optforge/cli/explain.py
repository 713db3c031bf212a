"""``optforge explain``: how much of a search's gain comes from tuning one more thing of AdamW."""

from __future__ import annotations

import json
from typing import Any

import typer

from optforge.api.explanation import ExplainOptions
from optforge.api.explanation import explain as run_explain
from optforge.cli.console import print_page_command, screen
from optforge.cli.display import stoppable
from optforge.cli.explained import print_explanation
from optforge.cli.options import Json, PlainDebug, takes
from optforge.report.search.explanation import explanation_json


@takes(ExplainOptions, {"": ("trials", "tasks", "workers", "cluster", "force")}, argument="run")
def explain(options: dict[str, Any], as_json: Json = False, debug: PlainDebug = False) -> None:
    """Measure whether tuning one more thing of AdamW would explain what a search found.

    AdamW is tuned with its learning rate and one more thing: decay, averages, bias correction,
    schedule, clipping, epsilon, averaged weights; then with all of them. For each, the table shows
    the remaining gain of the rule.
    """
    with stoppable("Stopped; the run is as it was. The same command begins again", as_json) as more:
        explanation = run_explain(**options, **more)
    if as_json:
        typer.echo(json.dumps(explanation_json(explanation), indent=2))
    else:
        print_explanation(explanation, screen())
        print_page_command(options["run"], screen())
