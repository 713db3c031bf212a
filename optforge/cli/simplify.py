"""``optforge simplify``: from raw program to readable rule, with the proof of each step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from optforge.api.simplification import SimplifyOptions, check_exact
from optforge.api.simplification import simplify as run
from optforge.cli.console import print_page_command, screen
from optforge.cli.derived import print_rule
from optforge.cli.display import stoppable
from optforge.cli.options import Json, PlainDebug, takes
from optforge.report.json_values import json_text
from optforge.report.simplify.files import simple_rule_json
from optforge.runs.directory import is_directory

_STOPPED = "Stopped; nothing is lost. The same command continues where it stopped"


@takes(
    SimplifyOptions,
    {
        "": ("exact",),
        "With training": (
            *("tasks", "margin", "keep", "drop_unresolved", "by", "programs", "minutes", "seed"),
        ),
        "Output": ("out", "picture", "force"),
        "Machine": ("workers", "cluster"),
    },
    argument="rule",
    flags={"out": ("--out", "-o")},
    metavars={"out": "FILE", "picture": "FILE"},
)
def simplify(given: dict[str, Any], as_json: Json = False, debug: PlainDebug = False) -> None:
    """Simplify a rule, and record why every step is allowed.

    Results of training are stored: after Ctrl-C, the same command continues where it stopped.
    """
    if given.get("exact", False):
        check_exact(given)
    with stoppable(_STOPPED, as_json, armed=not given.get("exact", False)) as more:
        simple = run(**given, **more)
    if as_json:
        typer.echo(json_text(simple_rule_json(simple)), nl=False)
    else:
        print_rule(simple, screen())
        print_page_command(_subject(given), screen())


def _subject(given: Mapping[str, Any]) -> str:
    """Return what the page is of: the run, the file of the simple rule, or the rule as given."""
    out = str(given.get("out", ""))
    written = out if out and not out.endswith(".md") else given["rule"]
    return given["rule"] if is_directory(Path(given["rule"])) else written
