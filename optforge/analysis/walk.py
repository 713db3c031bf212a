"""One walk over a program, run over different value domains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from optforge.language import Statement

Value = TypeVar("Value")


def walk(
    statements: tuple[Statement, ...],
    environment: dict[str | float, Value],
    constant: Callable[[float], Value],
    apply: Callable[[int, Statement, list[Value]], Value],
) -> dict[str | float, Value]:
    """Run statements over one domain: kinds, dependencies, hashes, costs.

    Args:
        statements: The body of a program.
        environment: Values of the parameters by name; targets are added to it.
        constant: Value of a constant.
        apply: Value of a statement from its number, itself and its arguments' values.

    Returns:
        The environment after the last statement.

    Raises:
        KeyError: With the name, if a variable is read before it is defined.
    """
    for number, statement in enumerate(statements):
        values = [
            environment[a] if a.__class__ is str else constant(a)  # type: ignore[arg-type]
            for a in statement.arguments
        ]
        environment[statement.target] = apply(number, statement, values)
    return environment
