"""``optforge funnel``: candidates of a search compete on ever larger tasks."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from optforge.api.funnel import funnel as run
from optforge.api.funnel import plan_funnel
from optforge.api.funnel_options import FunnelOptions
from optforge.api.funnel_result import FunnelResult
from optforge.cli.console import print_page_command, print_table, screen
from optforge.cli.display import say_stopped, stoppable
from optforge.cli.options import Debug, Json, takes
from optforge.report.json_values import json_text, plain
from optforge.report.promotion.page import cost_table, cost_words, funnel_json

_STOPPED = "Stopped; nothing is lost. The same command with --resume continues"


@takes(
    FunnelOptions,
    {
        "": ("ladder", "candidates", "baseline", "trials", "alpha", "seed"),
        "Where": ("out", "resume", "force"),
        "Machine": ("workers", "cluster"),
    },
    argument="run",
    metavars={"out": "DIR", "ladder": "FILE"},
)
def funnel(
    options: dict[str, Any],
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what the funnel would cost at most, and end.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare candidates of a search with a tuned baseline on ever larger tasks.

    Everything is tuned alike and judged on fresh seeds; what beats the baseline, by a corrected
    paired test, enters the next stage. After Ctrl-C, --resume continues.
    """
    if "ladder" in options and len(options["ladder"]) == 1:
        (options["ladder"],) = options["ladder"]
    if plan:
        _print_plan(FunnelOptions(**options), as_json)
        return
    with stoppable(_STOPPED, as_json) as more:
        result = run(**options, **more)
    if as_json:
        values = {"verdict": result.verdict, "stages": funnel_json(result.stages)}
        typer.echo(json_text(values), nl=False)
    else:
        _print_result(result, screen())
    if result.stopped:
        say_stopped(_STOPPED, beside=True)


def _print_plan(options: FunnelOptions, as_json: bool) -> None:
    plan = plan_funnel(options)
    if as_json:
        typer.echo(json.dumps(plain(list(plan.costs)), indent=2))
        return
    print_table(screen(), cost_table(plan.costs, plan.workers))
    screen().print(f"In all {cost_words(plan.costs, plan.workers)}; hopeless candidates stop early")


def _print_result(result: FunnelResult, console: Console) -> None:
    console.print(result.verdict, markup=False, style="bold")
    if result.stages:
        print_table(console, result.table)
        if result.best is not None:
            console.print()
            console.print(result.best.text.rstrip(), markup=False)
        console.print(f"\nIn {result.path}: funnel.md, funnel.json and, of a winner, best.py")
    print_page_command(result.path, console)
