"""``optforge runs``: the runs in a directory."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from optforge.cli.console import print_page_command, screen
from optforge.cli.options import Json, PlainDebug
from optforge.errors import RunError
from optforge.runs import RunSummary, list_runs

_COLORS = {"running": "green", "unreadable": "red", "stopped": "yellow"}


def runs(
    directory: Annotated[Path, typer.Argument(help="Where the runs are.", metavar="DIR")] = Path(
        "runs"
    ),
    as_json: Json = False,
    debug: PlainDebug = False,
) -> None:
    """List the runs in a directory: path, date, progress and best fitness."""
    summaries = list_runs(directory)
    if not summaries and directory != Path("runs") and not directory.is_dir():
        raise RunError(f"{directory} is not a directory; give the one that holds the runs")
    if as_json:
        typer.echo(json.dumps([_plain(summary) for summary in summaries], indent=2))
        return
    console = screen()
    if not summaries:
        console.print(f"No runs in {directory}/; 'optforge search' makes one", markup=False)
        return
    console.print(_table(summaries))
    print_page_command(summaries[-1].path, console)


def _table(summaries: list[RunSummary]) -> Table:
    table = Table("run", "begun", "status", box=None, pad_edge=False, header_style="dim")
    table.add_column("programs", justify="right")
    table.add_column("best fitness", justify="right")
    for run in summaries:
        best = run.best if run.best is not None and math.isfinite(run.best) else None
        table.add_row(
            Text(str(run.path), "bold"),
            run.created[:16].replace("T", " "),
            f"[{_COLORS.get(run.status, 'default')}]{run.status}[/]",
            f"{run.programs:,}" if not run.problem else Text(run.problem),
            f"{best:+.4f}" if best is not None else "",
        )
    return table


def _plain(run: RunSummary) -> dict[str, Any]:
    best = run.best if run.best is not None and math.isfinite(run.best) else None
    return {**asdict(run), "path": str(run.path), "best": best}
