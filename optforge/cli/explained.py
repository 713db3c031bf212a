"""How much of a gain single things explain, on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid

from optforge.assessment.explain import Explanation
from optforge.report.search.explanation import explanation_sentences, explanation_table


def print_explanation(found: Explanation, console: Console) -> None:
    """Print AdamW with each thing tuned, and what is left of the rule's gain after it."""
    table = explanation_table(found)
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(table.heads):
        grid.add_column(head, justify="right" if number else "left")
    for row in table.rows:
        grid.add_row(*row)
    console.print(grid)
    *sentences, verdict = explanation_sentences(found)
    for sentence in sentences:
        console.print(sentence, markup=False)
    console.print(verdict, markup=False, style="bold")
    console.print(table.title, markup=False, style="dim")
