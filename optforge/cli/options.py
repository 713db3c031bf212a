"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Machine"),
]
PlainDebug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Force = Annotated[
    bool, typer.Option("--force", help="Replace files there that optforge did not write.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
