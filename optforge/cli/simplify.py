"""``optforge simplify``: from raw program to readable rule, with the proof of each step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optforge.cli.console import screen
from optforge.cli.options import Json, PlainDebug
from optforge.errors import SimplifyError
from optforge.language import load_rule
from optforge.simplify import SimpleRule, Step, describe, draw_update, simplify_exact


def simplify(
    rule: Annotated[str, typer.Argument(help="A file, or the name of a shipped rule.")],
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Use no training: equal over the real numbers, or up to a guard."
        ),
    ] = False,
    as_json: Json = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the simple rule to this file.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the update against gradient and momentum to this PNG."),
    ] = None,
    debug: PlainDebug = False,
) -> None:
    """Simplify a rule, and write down why every step is allowed."""
    program = load_rule(rule)
    if not exact:
        raise SimplifyError(
            "simplifying by training is not there yet; give --exact for what needs no training"
        )
    console = screen()
    say = (lambda text: None) if as_json else (lambda text: console.print(Text(text, "dim")))
    found = describe(simplify_exact(program, say=say))
    if output is not None:
        _write(output, found)
    if picture is not None:
        _draw(picture, found)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        print_rule(found, console)


def _write(path: Path, found: SimpleRule) -> None:
    try:
        path.write_text(f"# {found.recognised.sentence}\n{found.program.text}", encoding="utf-8")
    except OSError as error:
        raise SimplifyError(f"cannot write {path}: {error.strerror}") from None


def _draw(path: Path, found: SimpleRule) -> None:
    try:
        draw_update(found.program, path)
    except OSError as error:
        raise SimplifyError(f"cannot write {path}: {error.strerror}") from None


def print_rule(found: SimpleRule, console: Console) -> None:
    """Print the rule, its name, the derivation and the card for people."""
    console.print()
    console.print(Text(found.program.text))
    console.print(Text(found.recognised.sentence, "bold"))
    console.print()
    for number, step in enumerate(found.simplified.derivation.steps, 1):
        console.print(_line(number, step))
    console.print()
    console.print(_card(found))


def _line(number: int, step: Step) -> Text:
    before, after = (text.count(" = ") for text in (step.before, step.after))
    text = Text(f"{number}. ", "dim")
    text.append(step.kind, "green" if step.kind == "exact" else "yellow")
    text.append(f", {before} -> {after} statements: {step.why}")
    return text


def _card(found: SimpleRule) -> Table:
    card = found.card
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row("scaling of gradients", card.gradient_scaling)
    table.add_row("scaling of weights and gradients", card.parameter_scaling)
    table.add_row("sign flips", f"{card.sign_flip}; element by element: {card.elementwise_flip}")
    table.add_row("bound of the update at lr = 1", card.bound or "none known")
    table.add_row("states", f"{card.states}, {card.state_bytes:g} bytes a parameter")
    if card.learning_rates:
        low, high = card.learning_rates
        table.add_row("update / gradient", f"{low:.3g} to {high:.3g}, gradients of 1e-4 to 100")
    return table
