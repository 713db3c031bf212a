"""``optforge rules``: the shipped rules."""

from __future__ import annotations

import re
from itertools import takewhile

from rich.table import Table

from optforge.cli.console import print_page_command, screen
from optforge.cli.options import PlainDebug
from optforge.language import load_rule, rule_names, rule_text


def rules(debug: PlainDebug = False) -> None:
    """List the shipped rules."""
    table = Table("rule", "what it is", box=None, pad_edge=False, header_style="dim")
    table.add_column("statements", justify="right")
    table.add_column("states", justify="right")
    for name in rule_names():
        program = load_rule(name)
        table.add_row(
            f"[bold]{name}[/]",
            first_sentence(rule_text(name)),
            str(len(program.statements)),
            str(len(program.states)),
        )
    screen().print(table)
    print_page_command("RULE", screen())


def first_sentence(text: str) -> str:
    """Return the comment at the top of a rule's text, up to its first full stop or semicolon.

    Example:
        >>> first_sentence("# Lion,\\n# of 0.9; short.\\n# Source: X\\ndef train(w, g, lr): ...")
        'Lion, of 0.9.'
    """
    lines = takewhile(lambda line: line.startswith("#"), text.lstrip().splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines).partition("Source: ")[0]
    first = re.split(r"[.;](?:\s|$)", comment)[0].strip()
    return f"{first}." if first else ""
