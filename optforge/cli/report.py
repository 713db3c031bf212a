"""``optforge report``: the page of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optforge.cli.console import screen
from optforge.cli.options import Force, PlainDebug
from optforge.report.pages.write import write_page
from optforge.report.words import size


def report(
    path: Annotated[
        Path,
        typer.Argument(
            help="Directory of a search, comparison, funnel or simplification; or a rule.",
            metavar="DIR|RULE",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write; DIR/report.html or RULE.html by default.",
            metavar="FILE",
        ),
    ] = None,
    force: Force = False,
    debug: PlainDebug = False,
) -> None:
    """Write the page of a result: one HTML file that needs no network.

    Searches, comparisons and funnels may be running; the page shows them as they are now. Of a
    rule it shows the properties; nothing is trained.
    """
    file = write_page(path, out, force)
    screen().print(f"{file} ({size(file.stat().st_size)})", markup=False, soft_wrap=True)
