"""``optforge export``: a rule as a file for PyTorch, optax or LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optforge.cli.options import PlainDebug
from optforge.errors import RunError
from optforge.exporters import export as write
from optforge.language import load_rule
from optforge.runs.directory import BEST


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
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    debug: PlainDebug = False,
) -> None:
    """Write a rule as a source file that needs no optforge."""
    file = rule_file(rule)
    text = write(load_rule(file), target, file)
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


def rule_file(rule: str) -> str:
    """Give the best rule's file for the directory of a run, and anything else as it is.

    Raises:
        RunError: If the directory holds no best rule.

    Example:
        >>> rule_file("lion")
        'lion'
    """
    path = Path(rule)
    try:
        if not path.is_dir():
            return rule
    except (OSError, ValueError):  # a name too long, or with a NUL byte
        return rule
    if not (path / BEST).is_file():
        raise RunError(
            f"{rule} is a directory without {BEST}; give one of a run that finished, or a file"
        )
    return str(path / BEST)
