"""``optforge export``: a rule as a file for PyTorch, optax or LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optforge.api.export import export as write
from optforge.cli.options import Force, PlainDebug
from optforge.errors import RunError


def export(
    rule: Annotated[
        str, typer.Argument(help="A file, a shipped rule's name, or the directory of a run.")
    ],
    target: Annotated[
        str, typer.Option("--to", help="torch, optax or latex.", metavar="TARGET")
    ] = "torch",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a file instead of printing.", metavar="FILE"),
    ] = None,
    force: Force = False,
    debug: PlainDebug = False,
) -> None:
    """Write a rule as a source file that needs no optforge."""
    text = write(rule, target)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RunError(f"{output} exists already; replace it with --force") from None
    except OSError as error:
        raise RunError(f"cannot write {output}: {error.strerror}") from None
