"""``optforge tasks``: the shipped tasks."""

from __future__ import annotations

import inspect

from rich.table import Table

from optforge.cli.console import screen
from optforge.cli.options import PlainDebug
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS, Task, initial_model, load_task, task_names


def tasks(debug: PlainDebug = False) -> None:
    """List the shipped tasks."""
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
    console = screen()
    console.print(table)
    console.print("\nYour own: --tasks file.py:Class, where Class derives from optforge.Task")


def role(name: str) -> str:
    """Say what a shipped task is for.

    Example:
        >>> role("mnist_mlp"), role("letters_cnn")
        ('proxy', 'held-out')
    """
    if name in PROXY_TASKS:
        return "proxy"
    return "held-out" if name == HELD_OUT_TASK else "benchmark"


def _parameters(task: Task) -> int:
    return sum(parameter.numel() for parameter in initial_model(task, 0).parameters())
