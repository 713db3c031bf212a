"""``optforge tasks``: the shipped tasks."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from rich.table import Table

from optforge.cli.console import screen
from optforge.cli.options import PlainDebug
from optforge.tasks import (
    HELD_OUT_TASK,
    PROXY_TASKS,
    Task,
    image_task_names,
    load_task,
    task_names,
)


def tasks(
    images: Annotated[
        bool, typer.Option("--images", help="List the image tasks, for comparisons, instead.")
    ] = False,
    debug: PlainDebug = False,
) -> None:
    """List the shipped tasks."""
    console = screen()
    if images:
        console.print(_image_table())
        console.print("\nThe tasks finetune_* start from a checkpoint, their attribute.")
        return
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
    console.print(
        f"For comparisons, {len(image_task_names())} image tasks: optforge tasks --images"
    )


def _image_table() -> Table:
    table = Table("task", "data", "side", "augmentation", box=None, pad_edge=False)
    table.header_style = "dim"
    for column in ("parameters", "steps", "batch"):
        table.add_column(column, justify="right")
    for name in image_task_names():
        task: Any = load_task(name)
        table.add_row(
            f"[bold]{name}[/]",
            task.dataset,
            str(task.side),
            task.augmentation,
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
