"""Building blocks of mutations: what is defined, read or named at a position of a program."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from optforge.analysis import variable_kinds
from optforge.language import Kind, Program, Statement, round_constant

_LARGEST = 1e10  # constants are kept below, as in the released search space


def with_statements(parent: Program, statements: Sequence[Statement]) -> Program:
    """Return a program with other statements."""
    return Program(parent.parameters, tuple(statements), parent.outputs)


def inserted(parent: Program, place: int, *statements: Statement) -> tuple[Statement, ...]:
    """Return the statements with more inserted at a position."""
    return (*parent.statements[:place], *statements, *parent.statements[place:])


def on_matrices(statement: Statement, names: Sequence[str]) -> tuple[Statement, Statement]:
    """Return what a statement does to its target, on hidden matrices alone.

    Args:
        statement: A statement whose target has a value before it, which other arrays keep.
        names: Names that are in use.

    Example:
        >>> first, second = on_matrices(Statement("u", "orthogonalize", ("u",)), ["u"])
        >>> first.text, second.text
        ('v1 = orthogonalize(u)', 'u = where_matrix(v1, u)')
    """
    value = fresh_name(names)
    first = Statement(value, statement.function, statement.arguments)
    return first, Statement(statement.target, "where_matrix", (value, statement.target))


def defined_before(program: Program, place: int) -> list[str]:
    """Return the variables defined before a position, without duplicates, in a fixed order."""
    targets = [statement.target for statement in program.statements[:place]]
    return list(dict.fromkeys([*program.parameters, *targets]))


def trees_before(program: Program, place: int) -> list[str]:
    """Return the tensor variables defined before a position, in a fixed order."""
    kinds = variable_kinds(program)[place]
    return [name for name in defined_before(program, place) if kinds[name] >= Kind.TREE]


def read_after(program: Program, place: int) -> list[str]:
    """Return the variables that are live at a position within this step, in a fixed order."""
    used = dict.fromkeys(program.outputs)
    for statement in reversed(program.statements[place:]):
        if statement.target in used:
            del used[statement.target]
            used.update(dict.fromkeys(a for a in statement.arguments if isinstance(a, str)))
    return list(used)


def renamed_from(program: Program, place: int, old: str, new: str) -> Program:
    """Make statements from a position on read another variable, until the old one is rewritten."""
    statements, is_old = list(program.statements), True
    for number in range(place, len(statements)):
        statement = statements[number]
        if is_old and old in statement.arguments:
            arguments = tuple(new if a == old else a for a in statement.arguments)
            statements[number] = Statement(statement.target, statement.function, arguments)
        is_old = is_old and statement.target != old
    outputs = tuple(new if is_old and name == old else name for name in program.outputs)
    return Program(program.parameters, tuple(statements), outputs)


def fresh_name(names: Sequence[str]) -> str:
    """Return the first of ``v1``, ``v2``, ... that is unused."""
    taken, number = set(names), 1
    while f"v{number}" in taken:
        number += 1
    return f"v{number}"


def choice(names: Sequence[str], random: Random) -> str:
    """Draw one of several names, using one random number."""
    return names[int(random.random() * len(names))]


def scaled_constant(value: float, random: Random) -> float:
    """Multiply a constant by two to the power of a standard normal random number."""
    scaled = value * 2.0 ** random.gauss(0.0, 1.0)
    return round_constant(max(-_LARGEST, min(_LARGEST, scaled)))


def memory_constant(random: Random) -> float:
    """Draw the decay of an average whose memory is one to a few hundred steps, log-uniformly."""
    return round_constant(1 - 10 ** random.uniform(-2.5, -0.2))
