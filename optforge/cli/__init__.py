"""The command line, one file a verb.

Exit codes: 0 done, 1 an error of optforge in one sentence, 2 wrong use, 70 a defect, 130 stopped.
"""

from __future__ import annotations

from optforge.cli.app import app


def main() -> None:
    """Run the command line; this is what the command ``optforge`` calls."""
    app(prog_name="optforge")
