"""``optforge search``: search for a rule, or go on with a search."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from optforge.api import search as api
from optforge.cli.conduct import conduct
from optforge.cli.options import Debug, Force
from optforge.files import split_list
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS, load_task
from optforge.tasks.files import is_place

_DEFAULTS = inspect.signature(api.search).parameters
_WHAT, _BUDGET, _EVOLUTION, _JUDGEMENT, _RUN, _MACHINE = (
    "What is searched",
    "How long",
    "Evolution",
    "Judgement",
    "Where",
    "Machine",
)


def _option(panel: str, name: str, text: str, default: str | None = None, **more: Any) -> Any:
    """Declare an option that is None unless given; its default is that of ``optforge.search``."""
    if default is None:
        default = str(_DEFAULTS[name.lstrip("-").replace("-", "_")].default)
    told = f"{text} [dim]Default: {default}.[/]" if default else text
    return typer.Option(name, help=told, show_default=False, rich_help_panel=panel, **more)


def search(
    start: Annotated[
        str | None, _option(_WHAT, "--from", "The warm start: a file or a shipped rule.", "adamw")
    ] = None,
    tasks: Annotated[
        str | None,
        _option(
            _WHAT,
            "--tasks",
            "Proxy tasks, the cheapest first, separated by commas; your own as file.py:Class.",
            ", ".join(PROXY_TASKS),
        ),
    ] = None,
    held_out: Annotated[
        str | None,
        _option(
            _WHAT,
            "--held-out",
            "Tasks for the final table only, never searched on; or 'none'.",
            HELD_OUT_TASK,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        _option(
            _WHAT,
            "--strategy",
            "evolution, or one of the controls: constants (only constants "
            "change) and random (no selection).",
        ),
    ] = None,
    functions: Annotated[
        str | None,
        _option(
            _WHAT,
            "--functions",
            "Sets of functions that programs are made of: paper (the paper's own space), masks, "
            "rows, matrices, time.",
            ",".join(api.FUNCTIONS),
        ),
    ] = None,
    max_state_bytes: Annotated[
        float | None,
        _option(
            _WHAT,
            "--max-state-bytes",
            "Bytes of state for each parameter that a rule may keep, 4 for each state of the size "
            "of the weights, 0 to 16.",
            "those of the warm start, at least 8",
        ),
    ] = None,
    max_statements: Annotated[
        int | None,
        _option(_WHAT, "--max-statements", "Length at which programs grow no more."),
    ] = None,
    minutes: Annotated[
        float | None,
        _option(
            _BUDGET,
            "--minutes",
            "Length of the search; the measurements at the end come on top. "
            "With --programs it ends at whichever comes first.",
            "8 if --programs is not given",
        ),
    ] = None,
    programs: Annotated[
        int | None,
        _option(_BUDGET, "--programs", "End after so many proposed programs.", "no limit"),
    ] = None,
    constants_programs: Annotated[
        int | None,
        _option(
            _BUDGET,
            "--constants-programs",
            "Programs of a first phase that only tunes the warm start's constants; 0 for none.",
            f"{api.CONSTANTS_A_MINUTE} a minute, or a tenth of --programs",
        ),
    ] = None,
    population: Annotated[
        int | None, _option(_EVOLUTION, "--population", "Programs in the aging population.")
    ] = None,
    tournament: Annotated[
        int | None,
        _option(_EVOLUTION, "--tournament", "Programs drawn, the best of which has a child."),
    ] = None,
    mutations: Annotated[
        str | None,
        _option(
            _EVOLUTION,
            "--mutations",
            "Weights of inserting, deleting and modifying a statement, and of adding a state.",
            "1,1,1,0.25; the paper has 1,1,1,0",
            metavar="I,D,M,S",
        ),
    ] = None,
    in_place: Annotated[
        float | None,
        _option(
            _EVOLUTION,
            "--in-place",
            "Share of insertions that rewrite a variable in use, as lr = sqrt(lr); 0 in the paper.",
        ),
    ] = None,
    rescale: Annotated[
        float | None,
        _option(
            _EVOLUTION,
            "--rescale",
            "Share of children that get the learning rate at which their updates are as long as "
            "their parent's; 0 in the paper.",
        ),
    ] = None,
    restart: Annotated[
        str | None,
        _option(
            _EVOLUTION,
            "--restart",
            "Where a search without progress restarts: best (the best so far), initial (what its "
            "phase began with: after the constants the best of them) or none.",
        ),
    ] = None,
    restart_after: Annotated[
        int | None,
        _option(_EVOLUTION, "--restart-after", "Programs without progress after which it does."),
    ] = None,
    repeats: Annotated[
        int | None,
        _option(_JUDGEMENT, "--repeats", "Seeds of each task before a program is compared."),
    ] = None,
    confirm: Annotated[
        int | None,
        _option(_JUDGEMENT, "--confirm", "More seeds of each task for those among the best."),
    ] = None,
    trials: Annotated[
        int | None,
        _option(
            _JUDGEMENT,
            "--trials",
            "Settings tried for each row of the table, on tasks that ship no tuned baseline; by "
            "default as many, from 4 to 256, as fit a fifth of the minutes for AdamW.",
        ),
    ] = None,
    seed: Annotated[int | None, _option(_JUDGEMENT, "--seed", "Of everything random.")] = None,
    run: Annotated[
        Path | None,
        _option(_RUN, "--run", "Directory of the run.", "a new one under runs/", metavar="DIR"),
    ] = None,
    resume: Annotated[
        Path | None,
        _option(
            _RUN,
            "--resume",
            "Go on with a run; its stored settings hold, so that only --minutes, "
            "--programs, --workers and --tasks (its own, as file.py:Class) may be given.",
            "",
            metavar="RUN",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _option(
            _MACHINE,
            "--workers",
            "Processes, 0 for this one alone; they change nothing of what "
            "is found under --programs.",
            "one a core",
        ),
    ] = None,
    compile_training: Annotated[
        bool | None,
        _option(
            _MACHINE,
            "--compile/--no-compile",
            "Compile the training kernels.",
            "where a C++ compiler is found and the search is long enough to earn it back",
        ),
    ] = None,
    simplify: Annotated[
        bool,
        typer.Option(
            "--simplify/--no-simplify",
            help="Simplify the winner at the end: exactly, and after half an hour of search also "
            "by training, in a tenth of the search's time.",
            rich_help_panel=_BUDGET,
        ),
    ] = True,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Search for an update rule, then measure fairly what was found.

    Every proposal is kept in the journal of the run: Ctrl-C loses nothing, and --resume goes on.
    """
    given = {
        "--from": start, "--held-out": held_out, "--strategy": strategy,
        "--functions": functions, "--max-state-bytes": max_state_bytes,
        "--max-statements": max_statements, "--constants-programs": constants_programs,
        "--population": population, "--tournament": tournament, "--mutations": mutations,
        "--in-place": in_place, "--rescale": rescale,
        "--restart": restart, "--restart-after": restart_after, "--repeats": repeats,
        "--confirm": confirm, "--trials": trials, "--seed": seed, "--run": run,
        "--compile": compile_training, "--force": force or None,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    both = _only(minutes=minutes, programs=programs, workers=workers)
    both["simplify"] = simplify
    if resume is not None:
        if given:
            raise typer.BadParameter(
                f"{next(iter(given))} cannot be given with --resume: a resumed run keeps its "
                "settings, and only --minutes, --programs, --workers and --tasks may be given"
            )
        loaded = [load_task(name) for name in _names(tasks or "")]
        conduct(api.resume, {"run": resume, "tasks": loaded, **both}, _names(tasks or ""))
        return
    own = [name for name in _names(f"{tasks or ''},{held_out or ''}") if is_place(name)]
    conduct(api.search, {**_arguments(given), **_listed(tasks, held_out), **both}, own)


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Turn options into arguments of ``optforge.search``."""
    named = {name.lstrip("-").replace("-", "_"): value for name, value in given.items()}
    named.pop("held_out", None)
    if "from" in named:
        named["start"] = named.pop("from")
    if "mutations" in named:
        named["mutations"] = _weights(named["mutations"])
    return named


def _listed(tasks: str | None, held_out: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tasks is not None:
        found["tasks"] = _names(tasks)
    if held_out is not None:
        found["held_out"] = [] if held_out.strip() == "none" else _names(held_out)
    return found


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


def _names(text: str) -> list[str]:
    return split_list(text)


def _only(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
