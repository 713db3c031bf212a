"""The command line, one module per verb.

Exit codes: 0 success, 1 an error of optforge in one sentence, 2 wrong usage, 70 a defect, 130
stopped.
"""

from __future__ import annotations

import gc

from optforge.cli.app import app


def main() -> None:
    """Run the command line; the entry point of the command ``optforge``."""
    # Imports and rewriting make objects by the million, hardly any of them garbage in cycles: to
    # look for those as often as by default takes a quarter of the time of a short command.
    gc.set_threshold(100_000, 20, 20)
    app(prog_name="optforge")
