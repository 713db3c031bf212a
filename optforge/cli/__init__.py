"""The command line, one module per verb.

Exit codes: 0 success, 1 an error of optforge in one sentence, 2 wrong usage, 70 a defect, 130
stopped.
"""

from __future__ import annotations

import gc

from optforge.cli.app import app


def main() -> None:
    """Run the command line; the entry point of the command ``optforge``."""
    collect_rarely()
    app(prog_name="optforge")


def collect_rarely() -> None:
    """Have Python look for garbage in cycles less often than by default.

    Imports, rewriting and mutations make objects by the million, hardly any of them such garbage;
    to look for it takes a quarter of a short command and a sixth of what a search generates.
    """
    gc.set_threshold(100_000, 20, 20)
