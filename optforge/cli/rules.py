"""``optforge rules``: the shipped rules."""

from __future__ import annotations

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
            first_comment(rule_text(name)),
            str(len(program.statements)),
            str(len(program.states)),
        )
    screen().print(table)
    print_page_command("RULE", screen())


def first_comment(text: str) -> str:
    """Return the first line of the comment at the top of a rule's text.

    Example:
        >>> first_comment("# Lion.\\n# Source: a paper\\ndef train(w, g, lr): ...")
        'Lion.'
    """
    first = text.lstrip().split("\n", 1)[0]
    return first.lstrip("# ") if first.startswith("#") else ""
