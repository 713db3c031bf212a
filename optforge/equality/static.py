"""Simplification without algebra: dead statements, dead states, folded constants."""

from __future__ import annotations

from optforge.analysis import live_program, liveness
from optforge.equality.derivation import EXACT, Change, DerivationStep, Link
from optforge.equality.tidy import fold
from optforge.language import Program, Statement


class Static:
    """The pass that removes everything that can never reach an update.

    Example:
        >>> from optforge.language import load_rule
        >>> change = Static().apply(load_rule("program_8"))
        >>> len(change.program.statements), change.program.states
        (12, ('v',))
    """

    def apply(self, program: Program) -> Change | None:
        """Remove dead statements and states, and fold statements that have only constants."""
        live = liveness(program)
        states = [n for n in range(len(program.states)) if live.states >> n & 1]
        lean = live_program(_folded(live_program(program, live)))
        if len(lean.statements) == len(program.statements) and lean.states == program.states:
            return None
        step = DerivationStep(EXACT, program.text, lean.text, _why(program, lean))
        links = tuple(Link(number) for number in _still(lean, program, states))
        return Change(lean, step, links)


def _still(lean: Program, program: Program, states: list[int]) -> list[int]:
    """Return those of some states that are still live; folding may have made others dead."""
    return [number for number in states if program.states[number] in lean.states]


def _why(program: Program, lean: Program) -> str:
    dropped = len(program.statements) - len(lean.statements)
    states = [name for name in program.states if name not in lean.states]
    parts = [f"{dropped} of {len(program.statements)} statements never reach an update, or are "]
    parts.append("constants" if dropped else "")
    why = "".join(parts) if dropped else "no update depends on what is left out"
    return why + (f"; state {', '.join(states)} is dead across steps" if states else "")


def _folded(program: Program) -> Program:
    """Replace variables that hold a constant by the constant."""
    values: dict[str, float] = {}
    statements: list[Statement] = []
    for statement in program.statements:
        arguments = tuple(
            values.get(a, a) if isinstance(a, str) else a for a in statement.arguments
        )
        numbers = [a for a in arguments if isinstance(a, float)]
        folded = fold(statement.function, numbers) if len(numbers) == len(arguments) else None
        if folded is None or _is_returned(program, statement):
            values.pop(statement.target, None)
        else:
            values[statement.target] = folded
        statements.append(Statement(statement.target, statement.function, arguments))
    return Program(program.parameters, tuple(statements), program.outputs)


def _is_returned(program: Program, statement: Statement) -> bool:
    """Return whether a statement is an output; a constant cannot be, so its statement stays."""
    return statement.target in program.outputs
