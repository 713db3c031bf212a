"""``optforge compare``: whether an optimizer is better on given tasks under equal tuning."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from optforge.api.comparison import CompareOptions, stored_comparison, stored_names
from optforge.cli.comparing import Asked, Manner, conduct_all, show_plan
from optforge.cli.options import Debug, names_in, takes
from optforge.comparison import ComparisonSettings, comparison_from, recipe_names
from optforge.comparison.cells.runner import checked_limit
from optforge.comparison.suite import merged_options, suite_tables
from optforge.errors import CompareError
from optforge.files import is_file, split_list
from optforge.runs.directory import new_run_path

_PANELS = {
    "What is compared": ("tasks", "optimizers", "baseline", "axes", "fixed", "title", "claim"),
    "How much": (
        *("trials", "seeds", "tune", "sampler", "objective", "extensions"),
        *("finalists", "again", "seed"),
    ),
    "What else is measured": (
        "sensitivity",
        "heat_map",
        "sweep_seeds",
        "studies",
        "one_setting",
        "extras",
    ),
    "Machine": ("out", "resume", "force", "workers", "cluster", "limit", "device", "figures"),
}
_SETTINGS = [field.name for field in fields(ComparisonSettings)]
_MANNER = [field.name for field in fields(Manner)]
_SUITE = "What is compared"


@takes(
    CompareOptions,
    _PANELS,
    flags={"axes": ("--axis",), "fixed": ("--fix",)},
    metavars={
        "axes": "NAME=A,B,...", "fixed": "NAME=A", "heat_map": "N,M", "out": "DIR",
        "limit": "SECONDS", "tasks": "TASK,...",
    },
    more={
        "optimizers": f" The first is the baseline. Presets: {', '.join(recipe_names())}; a "
        "rule's name or file, an exported file, torch:Name, timm:name, pytorch_optimizer:name; "
        "other=name calls it otherwise.",
        "axes": " For example batch_size=16,64,256; may be given several times.",
        "fixed": " hidden=[8,8] gives several numbers; may be given several times.",
    },
)  # fmt: skip
def compare(
    options: dict[str, Any],
    suite: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Comparisons in a TOML file.", rich_help_panel=_SUITE),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="These of a suite.", rich_help_panel=_SUITE),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print what would run and its cost.", rich_help_panel="Machine"
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON.", rich_help_panel="Machine")
    ] = False,
    debug: Debug = False,
) -> None:
    """Compare optimizers fairly: equal tuning for all, fresh paired seeds, intervals."""
    out = Path(options.pop("out")) if "out" in options else None
    manner = Manner(as_json=as_json, **{n: options.pop(n) for n in _MANNER if n in options})
    checked_limit(manner.limit)
    if "heat_map" in options:
        options["heat_map"] = _counts(options["heat_map"])
    settings = {name: options.pop(name) for name in _SETTINGS if name in options}
    for name in ("axes", "fixed"):
        options[name] = _assignments(options.get(name), many=name == "axes")
    table = {name: value for name, value in {**options, "settings": settings}.items() if value}
    asked = _comparisons(table, suite, only or "", out, manner.resume)
    if plan:
        comparisons = {name: comparison for name, (comparison, _) in asked.items()}
        show_plan(comparisons, manner.workers, out)
    else:
        conduct_all(asked, out or new_run_path("runs/comparisons"), manner)


def _comparisons(
    table: dict[str, Any], suite: Path | None, only: str, out: Path | None, resume: bool
) -> Asked:
    """Return the requested comparisons: from options, from a changed suite, or from a directory."""
    if resume and out is None:
        raise CompareError("--resume needs the directory to resume: --out DIR")
    if only and suite is None:
        raise CompareError(f"--only {only} chooses from a suite; give --suite FILE too")
    if suite is not None:
        tables = suite_tables(suite)
        names = split_list(only, tables.__contains__)
        if unknown := [name for name in names if name not in tables]:
            raise CompareError(f"{suite} has no {unknown[0]!r}; it has {', '.join(tables)}")
        chosen = {name: tables[name] for name in (names or tables)}
        parts = ("settings", "fixed", "axes")
        merged = {name: merged_options(chosen[name], table, parts) for name in chosen}
        return {name: (comparison_from(options), options) for name, options in merged.items()}
    if "tasks" in table and "optimizers" in table:
        return {"": (comparison_from(table), table)}
    if resume and out is not None and not table:
        return {name: stored_comparison(out / name) for name in stored_names(out)}
    if resume and "tasks" not in table and "optimizers" not in table:
        raise CompareError(
            f"the comparison in {out} is as it was stored, and {_said(table)} would change it; "
            "leave that out, or give --tasks, --optimizers and all settings anew, with --resume: "
            "runs that both have are not repeated"
        )
    missing = "--optimizers" if "tasks" in table else "--tasks"
    raise CompareError(
        f"say what to compare: {missing} is missing; for example optforge compare "
        "--tasks mnist_mlp --optimizers adamw,lion, or --suite FILE, or --resume --out DIR"
    )


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in names_in([text])]
    except ValueError:
        counts = []
    if len(counts) != 2:
        raise CompareError(f"--heat-map is {text!r}; give two counts, as in 5,5")
    return counts


def _said(table: Mapping[str, Any]) -> str:
    """Return the names of the given options."""
    names: list[str] = list(table.get("settings", ()))
    names += [name for name in table if name != "settings"]
    shown = {"axes": "axis", "fixed": "fix"}
    return ", ".join(f"--{shown.get(name, name).replace('_', '-')}" for name in names)


def _assignments(texts: Sequence[str] | None, many: bool = False) -> dict[str, Any]:
    values = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise CompareError(f"{text!r} sets nothing; write name=value, as in batch_size=64")
        whole = _toml(value)
        if many:
            values[name.strip()] = whole if isinstance(whole, list) else _values(value)
        elif whole is None and "," in value and not is_file(value.strip()):
            raise CompareError(
                f"--fix {text} gives several values, and one can be set; sweep over them with "
                f"--axis {text}, or write {name}=[{value}] for an attribute that has several"
            )
        else:
            values[name.strip()] = value.strip() if whole is None else whole
    return values


def _values(text: str) -> list[Any]:
    """Return values separated by commas; a text that is no TOML value stands for itself."""
    parsed = [(part, _toml(part)) for part in split_list(text)]
    return [part if value is None else value for part, value in parsed]


def _toml(text: str) -> Any:
    """Parse a text as a TOML value: a number, true or false, a list; None if it is not one."""
    try:
        return tomllib.loads(f"x = {text.strip()}")["x"]
    except (RecursionError, ValueError):  # the second for a number of thousands of digits as well
        return None
