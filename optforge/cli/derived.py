"""A simple rule on the screen: the rule, its name, the derivation, the table and the card."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optforge.ablation import SimpleRule
from optforge.ablation.effects import Effect
from optforge.equality import DerivationStep
from optforge.report.simplify.page import (
    caption,
    card_lines,
    figures_sentence,
    footnote,
    step_sentence,
    stops_sentence,
)
from optforge.report.words import number as half_interval
from optforge.statistics import Interval

_COLOURS = {"exact": "green", "empirical": "cyan"}


def print_rule(simple_rule: SimpleRule, console: Console) -> None:
    """Print the rule with all its properties."""
    console.print()
    console.print(Text(simple_rule.program.text))
    console.print(Text(simple_rule.recognised.sentence, "bold"))
    console.print()
    print_derivation(simple_rule, console)
    if simple_rule.trained is not None:
        console.print()
        print_effects(simple_rule, console)
    console.print()
    console.print(_card(simple_rule))


def print_derivation(simple_rule: SimpleRule, console: Console) -> None:
    """Print the steps, one or two lines each."""
    for number, step in enumerate(simple_rule.simplified.derivation.steps, 1):
        console.print(_line(number, step))
        if "effect" in step.figures:
            console.print(Text(f"   {figures_sentence(step.figures)}", "dim"))
    if simple_rule.simplified.stops:
        console.print(Text(stops_sentence(simple_rule), "yellow"))


def print_effects(simple_rule: SimpleRule, console: Console) -> None:
    """Print the effect of each change, and of leaving out each statement that stays."""
    trained = simple_rule.trained
    assert trained is not None
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("change", overflow="fold")
    grid.add_column("")
    grid.add_column("mean over tasks", justify="right")
    for task in trained.tasks:
        grid.add_column(task, justify="right")
    for row in trained.effects.rows:
        cells = [_cell(row.tasks.get(task)) for task in trained.tasks]
        grid.add_row(Text(row.change), _status(row), _cell(row.mean), *cells)
    totals = [_cell(trained.effects.tasks.get(task)) for task in trained.tasks]
    total = Text("simple rule against the rule as given", "bold")
    grid.add_row(total, "", _cell(trained.effects.total), *totals)
    console.print(grid)
    console.print(Text(caption(trained), "dim"))
    console.print(Text(footnote(trained), "dim"))


def _status(row: Effect) -> Text:
    colours = {"removed": "green", "rounded": "green", "kept: unresolved": "yellow"}
    return Text(row.status, colours.get(row.status, ""))


def _cell(value: Interval | None) -> Text:
    if value is None:
        return Text("-", "dim")
    style = "green" if value.high < 0 else "red" if value.low > 0 else ""
    return Text(half_interval(value, 3, "+"), style)


def _line(number: int, step: DerivationStep) -> Text:
    text = Text(f"{number}. ", "dim")
    text.append(step.kind, _COLOURS.get(step.kind, "yellow"))
    text.append(f", {step_sentence(step)}")
    return text


def _card(simple_rule: SimpleRule) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    for name, value in card_lines(simple_rule.card):
        table.add_row(name, value)
    return table
