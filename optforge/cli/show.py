"""``optforge show``: what can be learned about a rule without training it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optforge.analysis import (
    Cost,
    Liveness,
    cost,
    fingerprint,
    live_program,
    liveness,
    numeric_fingerprint,
    state_kinds,
    wide_updates,
)
from optforge.cli.console import print_page_command, screen
from optforge.cli.options import Json, PlainDebug
from optforge.errors import RunError
from optforge.language import Kind, Program, load_rule
from optforge.report.trajectories import draw_trajectories
from optforge.runs.directory import rule_file
from optforge.runs.outputs import check_output, write_output

_KIND = {
    Kind.SCALAR: "scalar",
    Kind.ARRAY: "one scalar per array",
    Kind.TREE: "tree",
    Kind.TRANSPOSED: "tree of transposed matrices",
    Kind.ROW_SQUARE: "tree, rows by rows of each matrix",
    Kind.COLUMN_SQUARE: "tree, columns by columns of each matrix",
}


@dataclass(frozen=True)
class RuleFacts:
    """Properties of a rule."""

    program: Program
    live: Liveness
    kinds: tuple[str, ...]
    cost: Cost
    fingerprint: str
    numeric: str

    @property
    def dead_states(self) -> list[str]:
        """Names of the states on which no update ever depends."""
        states = enumerate(self.program.states)
        return [name for number, name in states if not self.live.states >> number & 1]

    def mark(self, number: int) -> str:
        """Return the mark of a statement: whether it is live."""
        if self.live.across >> number & 1:
            return "live"
        return "live within a step only" if self.live.within >> number & 1 else "dead"


def show(
    rule: Annotated[
        str, typer.Argument(help="A file, the name of a shipped rule, or the directory of a run.")
    ],
    as_json: Json = False,
    picture: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Draw its paths over four surfaces, beside AdamW and momentum, as a PNG.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the picture.")] = False,
    debug: PlainDebug = False,
) -> None:
    """Show a rule: which statements are live, its states, fingerprint and cost."""
    if picture is not None:
        check_output(Path(picture), force, RunError)
    rule = str(rule_file(rule))
    facts = gather(load_rule(rule))
    if picture is not None:
        drawn = draw_trajectories(facts.program, Path(rule).stem)
        write_output(Path(picture), drawn, force, RunError)
    if as_json:
        typer.echo(json.dumps(plain_facts(facts), indent=2))
    else:
        print_facts(facts, rule, screen())
        print_page_command(rule, screen())


def gather(program: Program) -> RuleFacts:
    """Compute all properties of a program.

    Raises:
        ProgramError: If the kinds of its values do not match.
    """
    kinds = tuple(_KIND[Kind(kind)] for kind in state_kinds(program))
    live = liveness(program)
    numeric = numeric_fingerprint(wide_updates(live_program(program)))
    return RuleFacts(program, live, kinds, cost(program), fingerprint(program), numeric)


def plain_facts(facts: RuleFacts) -> dict[str, Any]:
    """Return the properties as JSON-serializable values.

    Example:
        >>> from optforge.language import load_rule
        >>> facts = plain_facts(gather(load_rule("program_8")))
        >>> facts["statements"], facts["live_across_steps"], facts["dead_states"]
        (21, 12, ['m'])
    """
    program = facts.program
    return {
        "statements": len(program.statements),
        "live_within_step": facts.live.within.bit_count(),
        "live_across_steps": facts.live.across.bit_count(),
        "states": list(program.states),
        "dead_states": facts.dead_states,
        "state_kinds": dict(zip(program.states, facts.kinds, strict=True)),
        "fingerprint": facts.fingerprint,
        "numeric_fingerprint": facts.numeric,
        "state_bytes_per_parameter": facts.cost.state_bytes,
        "traffic_bytes_per_parameter": facts.cost.traffic_bytes,
        "operations_per_parameter": facts.cost.operations,
        "reductions": facts.cost.reductions,
        "program": program.text,
        "marks": [facts.mark(number) for number in range(len(program.statements))],
    }


def print_facts(facts: RuleFacts, name: str, console: Console) -> None:
    """Print the properties for people."""
    plain = plain_facts(facts)
    console.print(Text(name, "bold"), end="  ")
    console.print(
        f"{plain['statements']} statements, {plain['live_within_step']} live within a step, "
        f"{plain['live_across_steps']} live across steps\n"
    )
    console.print(_listing(facts))
    console.print()
    console.print(_numbers(facts))


def _listing(facts: RuleFacts) -> Table:
    first, *body, last = facts.program.text.rstrip().split("\n")
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim")
    table.add_row("", Text(first), "")
    for number, line in enumerate(body):
        mark = facts.mark(number)
        style = "" if mark == "live" else "dim"
        table.add_row(str(number + 1), Text(line, style), Text("" if not style else mark, "yellow"))
    table.add_row("", Text(last), "")
    return table


def _numbers(facts: RuleFacts) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    dead = set(facts.dead_states)
    for name, kind in zip(facts.program.states, facts.kinds, strict=True):
        table.add_row("state", f"{name}: {kind}" + (", [yellow]dead[/]" if name in dead else ""))
    if not facts.program.states:
        table.add_row("state", "none")
    rule_cost = facts.cost
    table.add_row("fingerprint", f"{facts.fingerprint} functional, {facts.numeric} numeric")
    table.add_row(
        "cost",
        f"{rule_cost.state_bytes:g} bytes of state, {rule_cost.traffic_bytes:g} bytes of traffic "
        f"and {rule_cost.operations} operations a parameter; "
        f"{rule_cost.reductions} pass{'' if rule_cost.reductions == 1 else 'es'} over all",
    )
    return table
