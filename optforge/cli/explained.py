"""An explanation on the screen: how much of a gain single things explain."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid

from optforge.assessment.explain import Explanation
from optforge.report.search.explanation import explanation_sentences, explanation_table


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print AdamW with each thing tuned, and the remaining gain of the rule."""
    table = explanation_table(explanation)
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(table.heads):
        grid.add_column(head, justify="right" if number else "left")
    for row in table.rows:
        grid.add_row(*row)
    console.print(grid)
    *sentences, verdict = explanation_sentences(explanation)
    for sentence in sentences:
        console.print(sentence, markup=False)
    console.print(verdict, markup=False, style="bold")
    console.print(table.title, markup=False, style="dim")
