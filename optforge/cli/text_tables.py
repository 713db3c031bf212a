"""Tables of text on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optforge.report.text_table import TextTable


def print_table(console: Console, table: TextTable) -> None:
    """Print a table; the tasks become headings, to leave room for the numbers."""
    console.print(Text(table.title, "italic"))
    grouped = table.heads[0] == "task" and len(table.heads) > 2
    first = 1 if grouped else 0
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for head, left in list(zip(table.heads, table.left, strict=True))[first:]:
        shown.add_column(head, justify="left" if left else "right", overflow="fold")
    task = None
    for row in table.rows:
        if grouped and row[0] != task:
            task = row[0]
            shown.add_row(Text(task, "bold"))
        shown.add_row(*(Text(cell) for cell in row[first:]))
    console.print(shown)
