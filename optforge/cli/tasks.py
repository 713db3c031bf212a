"""``optforge tasks``: the shipped tasks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from optforge.cli.console import screen
from optforge.cli.options import PlainDebug
from optforge.errors import TaskError
from optforge.tasks import (
    FAMILIES,
    HELD_OUT_TASK,
    PROXY_TASKS,
    Task,
    family_task_names,
    load_task,
    task_names,
)

# What is printed of the tasks of a family: attributes, and the headers of their columns.
_COLUMNS = {
    "images": {"dataset": "data", "side": "side", "augmentation": "augmentation"},
    "language": {"corpus": "corpus", "architecture": "model", "length": "length"},
    "diffusion": {"side": "side", "widths": "widths"},
    "contrastive": {"image_tower": "image tower", "width": "width", "layers": "blocks"},
}


def tasks(
    family: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"List those for comparisons instead: {', '.join(FAMILIES)}."
        ),
    ] = None,
    images: Annotated[bool, typer.Option("--images", hidden=True)] = False,
    debug: PlainDebug = False,
) -> None:
    """List the shipped tasks."""
    console, family = screen(), "images" if images else family
    if family is None:
        _print_tasks(console)
    elif family not in FAMILIES:
        raise TaskError(f"unknown family {family!r} of tasks; there are: {', '.join(FAMILIES)}")
    else:
        console.print(_table_of(family_task_names(family), _COLUMNS[family]))
        if family == "images":
            console.print("\nThe tasks finetune_* start from a checkpoint, their attribute.")


def _print_tasks(console: Console) -> None:
    table = Table("task", "what it is", box=None, pad_edge=False, header_style="dim")
    for column in ("parameters", "steps", "batch"):
        table.add_column(column, justify="right")
    table.add_column("role", no_wrap=True)
    for name in task_names():
        task = load_task(name)
        table.add_row(
            f"[bold]{name}[/]",
            (inspect.getdoc(type(task)) or "").split("\n")[0],
            f"{_parameters(task):,}",
            str(task.steps),
            str(task.batch_size),
            role(name),
        )
    console.print(table)
    console.print("\nYour own: --tasks file.py:Class, where Class derives from optforge.Task")
    counts = ", ".join(f"{name} ({len(family_task_names(name))})" for name in FAMILIES)
    console.print(f"For comparisons there are families of tasks: {counts}; see --family NAME")


def _table_of(names: Sequence[str], columns: Mapping[str, str]) -> Table:
    """Return a table of tasks with some of their attributes, each under its header."""
    table = Table("task", *columns.values(), box=None, pad_edge=False, header_style="dim")
    for header in ("parameters", "steps", "batch"):
        table.add_column(header, justify="right")
    for name in names:
        task = load_task(name)
        table.add_row(
            f"[bold]{name}[/]",
            *(str(getattr(task, attribute)) for attribute in columns),
            f"{_parameters(task):,}",
            str(task.steps),
            str(task.batch_size),
        )
    return table


def role(name: str) -> str:
    """Return the purpose of a shipped task.

    Example:
        >>> role("mnist_mlp"), role("names_cnn")
        ('proxy', 'held-out')
    """
    if name in PROXY_TASKS:
        return "proxy"
    return "held-out" if name == HELD_OUT_TASK else "benchmark"


def _parameters(task: Task) -> int:
    return sum(parameter.numel() for parameter in task.model().parameters())
