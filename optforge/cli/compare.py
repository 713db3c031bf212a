"""``optforge compare``: is this optimizer better, on these tasks, when all are tuned alike?"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from optforge.api.comparison import stored_comparison, stored_names
from optforge.cli.comparing import conduct_all, show_plan
from optforge.cli.options import Debug, Force
from optforge.comparison import Comparison, comparison_from, recipe_names
from optforge.comparison.cells.runner import LIMIT, checked_limit
from optforge.comparison.suite import suite_tables
from optforge.errors import CompareError
from optforge.files import split_list
from optforge.runs.directory import new_run_path

_WHAT, _HOW, _MORE = "What is compared", "How much", "What else is measured"
_MACHINE = "Machine"
_PRESETS = ", ".join(recipe_names())


def compare(
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "--tasks",
            "-t",
            metavar="TASK,...",
            rich_help_panel=_WHAT,
            help="Names from 'optforge tasks', or file.py:Class.",
        ),
    ] = None,
    optimizers: Annotated[
        list[str] | None,
        typer.Option(
            "--optimizers",
            "-o",
            metavar="NAME,...",
            rich_help_panel=_WHAT,
            help=f"The first is the baseline. Presets: {_PRESETS}; a rule's name or file, an "
            "exported file, torch:Name, timm:name, pytorch_optimizer:name; "
            "[bold]other=name[/] calls it otherwise.",
        ),
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Comparisons in a TOML file.", rich_help_panel=_WHAT),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="These of a suite.", rich_help_panel=_WHAT),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Hold the others against this.", rich_help_panel=_WHAT)
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=A,B,...",
            rich_help_panel=_WHAT,
            help="Sweep over an attribute of the task, for example batch_size=16,64,256.",
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=A",
            rich_help_panel=_WHAT,
            help="Set an attribute of the task; samples=N holds steps x batch size, "
            "hidden=[8,8] gives several numbers.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Settings tried for each [16].", rich_help_panel=_HOW)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Fresh seeds of the result [10].", rich_help_panel=_HOW)
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            rich_help_panel=_HOW,
            help="What is tuned (lr,weight_decay,betas); add schedule for the shape of the "
            "schedule, or warmup, decay_power, final_lr.",
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="sobol or grid (sobol).", rich_help_panel=_HOW)
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Choose by validation loss, or metric (higher is better); loss if not said.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    extensions: Annotated[
        int | None,
        typer.Option(help="Times that ranges may grow at an edge [1].", rich_help_panel=_HOW),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of everything random [0].", rich_help_panel=_HOW)
    ] = None,
    sensitivity: Annotated[
        int | None,
        typer.Option(metavar="N", help="Learning rates on a curve.", rich_help_panel=_MORE),
    ] = None,
    heat_map: Annotated[
        str | None,
        typer.Option(metavar="N,M", help="Learning rates x decays.", rich_help_panel=_MORE),
    ] = None,
    studies: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=_MORE,
            help="Also score time to target as AlgoPerf does: N studies of five trials (its "
            "rules: 3).",
        ),
    ] = None,
    extras: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Also measure: flatness.", rich_help_panel=_MORE),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the result.", rich_help_panel=_MACHINE),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the cells in --out.", rich_help_panel=_MACHINE),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print what would run and its cost.", rich_help_panel=_MACHINE),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes (one a core); 0: none but this.", rich_help_panel=_MACHINE),
    ] = None,
    limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_MACHINE,
            help="End a worker's run after so long; it has no result then, and --resume tries "
            "it again.",
        ),
    ] = LIMIT,
    device: Annotated[
        str | None, typer.Option(help="Where to train (cpu).", rich_help_panel=_MACHINE)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON.", rich_help_panel=_MACHINE)
    ] = False,
    no_figures: Annotated[
        bool, typer.Option("--no-figures", help="Draw nothing.", rich_help_panel=_MACHINE)
    ] = False,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Compare optimizers fairly: equal tuning for all, fresh paired seeds, intervals."""
    settings = _given(
        trials=trials, seeds=seeds, tune=_names(tune), sampler=sampler, objective=objective,
        extensions=extensions, seed=seed, sensitivity=sensitivity, heat_map=_counts(heat_map),
        studies=studies, extras=_names(extras),
    )  # fmt: skip
    table = _given(
        tasks=_all(task), optimizers=_all(optimizers), baseline=baseline,
        axes=_assignments(axis, many=True), fixed=_assignments(fix), settings=settings,
        device=device,
    )  # fmt: skip
    asked = _comparisons(table, suite, _names(only), out, resume)
    if plan:
        show_plan({name: made for name, (made, _) in asked.items()}, workers, out)
        return
    where = out or new_run_path("runs/comparisons")
    conduct_all(
        asked, where, resume=resume, workers=workers, as_json=as_json, figures=not no_figures,
        limit=checked_limit(limit), force=force,
    )  # fmt: skip


Asked = dict[str, tuple[Comparison, Mapping[str, Any]]]


def _comparisons(
    table: dict[str, Any], suite: Path | None, only: list[str], out: Path | None, resume: bool
) -> Asked:
    """What is asked for: by options, by a suite that options change, or by a directory."""
    if resume and out is None:
        raise CompareError("--resume needs the directory to go on with: --out DIR")
    if only and suite is None:
        raise CompareError(f"--only {','.join(only)} chooses from a suite; give --suite FILE too")
    if suite is not None:
        tables = suite_tables(suite)
        if unknown := [name for name in only if name not in tables]:
            raise CompareError(f"{suite} has no {unknown[0]!r}; it has {', '.join(tables)}")
        chosen = {name: tables[name] for name in (only or tables)}
        merged = {name: _over(of, table) for name, of in chosen.items()}
        return {name: (comparison_from(of), of) for name, of in merged.items()}
    if "tasks" in table and "optimizers" in table:
        return {"": (comparison_from(table), table)}
    if resume and out is not None and not table:
        return {name: stored_comparison(out / name) for name in stored_names(out)}
    if resume and "tasks" not in table and "optimizers" not in table:
        raise CompareError(
            f"the comparison in {out} is as it was stored, and {_said(table)} would change it; "
            "leave that out, or give --task, --optimizers and all settings anew, with --resume: "
            "runs that both have are not repeated"
        )
    missing = "--optimizers" if "tasks" in table else "--task"
    raise CompareError(
        f"say what to compare: {missing} is missing; for example optforge compare "
        "--task mnist_mlp --optimizers adamw,lion, or --suite FILE, or --resume --out DIR"
    )


def _over(suite: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**suite, **given}
    for key in ("settings", "fixed", "axes"):
        if key in suite and key in given:
            merged[key] = {**suite[key], **given[key]}
    return merged


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [], {})}


def _names(text: str | None) -> list[str]:
    return split_list(text or "")


def _all(texts: Sequence[str] | None) -> list[str]:
    return [name for text in texts or () for name in _names(text)]


def _counts(text: str | None) -> list[int]:
    try:
        counts = [int(x) for x in _names(text)]
    except ValueError:
        counts = [0]
    if text is not None and len(counts) != 2:
        raise CompareError(f"--heat-map is {text!r}; give two counts, as in 5,5")
    return counts


def _said(table: Mapping[str, Any]) -> str:
    """The options that were given, by name."""
    names: list[str] = list(table.get("settings", ()))
    names += [name for name in table if name != "settings"]
    shown = {"axes": "axis", "fixed": "fix"}
    return ", ".join(f"--{shown.get(name, name).replace('_', '-')}" for name in names)


def _assignments(texts: Sequence[str] | None, many: bool = False) -> dict[str, Any]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise CompareError(f"{text!r} sets nothing; write name=value, as in batch_size=64")
        whole = _toml(value)
        if many:
            found[name.strip()] = whole if isinstance(whole, list) else _values(value)
        elif whole is None and "," in value:
            raise CompareError(
                f"--fix {text} gives several values, and one can be set; sweep over them with "
                f"--axis {text}, or write {name}=[{value}] for an attribute that has several"
            )
        else:
            found[name.strip()] = value.strip() if whole is None else whole
    return found


def _values(text: str) -> list[Any]:
    """Several values between commas; a text that is nothing else stands for itself."""
    made = [(part.strip(), _toml(part)) for part in text.split(",")]
    return [part if value is None else value for part, value in made]


def _toml(text: str) -> Any:
    """What TOML makes of a text: a number, true or false, a list; None if it is no value."""
    try:
        return tomllib.loads(f"x = {text.strip()}")["x"]
    except tomllib.TOMLDecodeError:
        return None
