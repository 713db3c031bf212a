"""How much of a gain single things explain, on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid

from optforge.assessment.explain import Explanation, explanation_verdict
from optforge.assessment.verdict import ADAMW, percent


def print_explanation(found: Explanation, console: Console) -> None:
    """Print AdamW with each thing tuned, and what is left of the rule's gain after it."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("AdamW, tuned beside the rate")
    grid.add_column("gain over the rate alone", justify="right")
    grid.add_column("left of the rule's", justify="right")
    for row in found.rows:
        grid.add_row(row.name, percent(row.gain), percent(row.left))
    console.print(grid)
    if found.straight is not None:
        console.print(
            f"The rule with its schedule straightened, tuned alike: {percent(found.straight)} "
            f"against {ADAMW}; as it is: {percent(found.whole)}",
            markup=False,
        )
    console.print(explanation_verdict(found), markup=False, style="bold")
    console.print(
        f"Mean over the proxies and 95 % interval of paired differences, {found.repeats} fresh "
        f"seeds; each row tuned by {found.trials} trials a task",
        style="dim",
    )
