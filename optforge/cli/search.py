"""``optforge search``: search for a rule, or resume a search."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from optforge.api.search import resume as api_resume
from optforge.api.search import search as api_search
from optforge.api.search_options import SearchOptions
from optforge.cli.conduct import conduct, show_cost
from optforge.cli.options import Debug, takes
from optforge.tasks.files import is_place

_ON_RESUMING = (
    *("minutes", "programs", "workers", "cluster", "max_memory", "simplify", "log", "tasks"),
)
_MAY_CHANGE = (
    "--minutes, --programs, --workers, --cluster, --max-memory, --simplify, --log and --tasks"
)
_PANELS = {
    "What is searched": (
        *("start", "tasks", "held_out", "validate", "strategy", "functions"),
        *("max_state_bytes", "max_statements"),
    ),
    "How long": ("minutes", "programs", "constants_programs", "simplify"),
    "Evolution": (
        *("population", "tournament", "mutations", "in_place", "on_matrices", "rescale"),
        *("known_by", "restart", "restart_after", "seed_sets", "lag"),
    ),
    "Judgement": (
        *("repeats", "confirm", "gradient_spread", "validation_share", "trials"),
        *("fresh_seeds", "seed"),
    ),
    "Where": ("out", "force", "log"),
    "Machine": ("workers", "cluster", "max_memory", "device", "compile"),
}
_METAVARS = {"out": "DIR", "mutations": "I,D,M,S", "max_memory": "SIZE", "log": "NAME"}


@takes(SearchOptions, _PANELS, metavars=_METAVARS)
def search(
    options: dict[str, Any],
    resume: Annotated[
        Path | None,
        typer.Option(
            help=f"Resume a run. Its stored settings hold: only {_MAY_CHANGE} (its own, as "
            "file.py:Class) may be given.",
            metavar="RUN",
            rich_help_panel="Where",
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print the cost and end.", rich_help_panel="How long"),
    ] = False,
    debug: Debug = False,
) -> None:
    """Search for an update rule, then measure the result fairly.

    Every proposal is stored in the journal of the run: Ctrl-C loses nothing, and --resume
    continues.
    """
    if resume is not None:
        if refused := [name for name in options if name not in _ON_RESUMING]:
            raise typer.BadParameter(
                f"--{refused[0].replace('_', '-')} cannot be given with --resume: a resumed run "
                f"keeps its settings, and only {_MAY_CHANGE} may be given"
            )
        if plan:
            raise typer.BadParameter("--plan is for a new search; it cannot be given with --resume")
        conduct(api_resume, {**options, "run": resume}, options.get("tasks", []))
        return
    for name in ("held_out", "validate"):
        if options.get(name) == ["none"]:
            options[name] = []
    if "mutations" in options:
        options["mutations"] = _weights(options["mutations"])
    if plan:
        show_cost(options)
        return
    names = [n for kind in ("tasks", "held_out", "validate") for n in options.get(kind, ())]
    conduct(api_search, options, [name for name in names if is_place(name)])


def _weights(text: str) -> tuple[float, ...]:
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        weights = ()
    if len(weights) not in (3, 4) or not all(math.isfinite(weight) for weight in weights):
        raise typer.BadParameter(
            f"--mutations is {text!r}; give three or four numbers separated by commas, such as "
            "1,1,1,0.25"
        )
    return weights
