"""``optforge export``: a rule as a file for PyTorch, optax or LaTeX."""

from __future__ import annotations

from typing import Any

import typer

from optforge.api.export import ExportOptions
from optforge.api.export import export as write
from optforge.cli.console import print_page_command, screen
from optforge.cli.options import PlainDebug, takes


@takes(
    ExportOptions,
    {"": ("to", "name", "out", "force")},
    argument="rule",
    flags={"out": ("--out", "-o")},
    metavars={"to": "TARGET", "out": "FILE"},
)
def export(options: dict[str, Any], debug: PlainDebug = False) -> None:
    """Write a rule as a source file that needs no optforge."""
    text = write(**options)
    if "out" not in options:  # the text alone, so that it can go to a file
        typer.echo(text, nl=False)
    else:
        print_page_command(options["rule"], screen())
