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
def simplify(options: dict[str, Any], as_json: Json = False, debug: PlainDebug = False) -> None:
    """Simplify a rule, and record why every step is allowed.

    Results of training are stored: after Ctrl-C, the same command continues where it stopped.
    """
    if options.get("exact", False):
        check_exact(options)
    with stoppable(_STOPPED, as_json, armed=not options.get("exact", False)) as more:
        simple = run(**options, **more)
    if as_json:
        typer.echo(json_text(simple_rule_json(simple)), nl=False)
    else:
        print_rule(simple, screen())
        print_page_command(_subject(options), screen())


def _subject(options: Mapping[str, Any]) -> str:
    """Return what the page is of: the run, the file of the simple rule, or the rule as given."""
    out = str(options.get("out", ""))
    written = out if out and not out.endswith(".md") else options["rule"]
    return options["rule"] if is_directory(Path(options["rule"])) else written
