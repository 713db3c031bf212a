"""Parts of mutations: what is defined, read or named at a place of a program."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from optforge.analysis import variable_kinds
from optforge.language import Kind, Program, Statement, round_constant

_LARGEST = 1e10  # constants are kept below, as in the released search space


def with_statements(parent: Program, statements: Sequence[Statement]) -> Program:
    """Return a program with other statements."""
    return Program(parent.parameters, tuple(statements), parent.outputs)


def inserted(parent: Program, place: int, statement: Statement) -> tuple[Statement, ...]:
    """Return the statements with one more at a place."""
    return (*parent.statements[:place], statement, *parent.statements[place:])


def defined_before(program: Program, place: int) -> list[str]:
    """Return the variables that are defined before a place, each once, in a fixed order."""
    targets = [statement.target for statement in program.statements[:place]]
    return list(dict.fromkeys([*program.parameters, *targets]))


def trees_before(program: Program, place: int) -> list[str]:
    """Return the variables that have a shape before a place, in a fixed order."""
    kinds = variable_kinds(program)[place]
    return [name for name in defined_before(program, place) if kinds[name] >= Kind.TREE]


def read_after(program: Program, place: int) -> list[str]:
    """Return the variables whose value at a place still matters in this step, in a fixed order."""
    used = dict.fromkeys(program.outputs)
    for statement in reversed(program.statements[place:]):
        if statement.target in used:
            del used[statement.target]
            used.update(dict.fromkeys(a for a in statement.arguments if isinstance(a, str)))
    return list(used)


def renamed_from(program: Program, place: int, old: str, new: str) -> Program:
    """Let everything from a place on read another variable, until the old one is written again."""
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
    """Return the first of ``v1``, ``v2``, ... that is not taken."""
    taken, number = set(names), 1
    while f"v{number}" in taken:
        number += 1
    return f"v{number}"


def choice(names: Sequence[str], random: Random) -> str:
    """Draw one of some names by one random number."""
    return names[int(random.random() * len(names))]


def scaled_constant(value: float, random: Random) -> float:
    """Multiply a constant by two to the power of a standard normal number."""
    scaled = value * 2.0 ** random.gauss(0.0, 1.0)
    return round_constant(max(-_LARGEST, min(_LARGEST, scaled)))


def memory_constant(random: Random) -> float:
    """Draw the memory of an average: of one to a few hundred steps, evenly on a log scale."""
    return round_constant(1 - 10 ** random.uniform(-2.5, -0.2))
