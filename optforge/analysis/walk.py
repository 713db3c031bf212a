"""A walk over a program that is run over different value domains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from optforge.language import Statement

Value = TypeVar("Value")


class Environment(dict[str | float, Value]):
    """Values of variables by name; constants get theirs when they are first read.

    Args:
        names: Names of a program's parameters.
        values: Values of the parameters.
        constant: Returns the value of a constant in this domain.

    Example:
        >>> environment = Environment(("w", "lr"), (2, 0), lambda value: 0)
        >>> environment["w"], environment[0.5]
        (2, 0)
    """

    def __init__(
        self, names: Iterable[str], values: Iterable[Value], constant: Callable[[float], Value]
    ) -> None:
        super().__init__(zip(names, values, strict=True))
        self.constant = constant

    def __missing__(self, key: str | float) -> Value:
        if isinstance(key, str):
            raise KeyError(key)
        return self.constant(key)  # not kept: 0.0 and -0.0 are equal keys


def walk(
    statements: tuple[Statement, ...],
    environment: Environment[Value],
    apply: Callable[[int, Statement, list[Value]], Value],
) -> Environment[Value]:
    """Run statements over one domain: kinds, dependencies, hashes, costs.

    Args:
        statements: The body of a program.
        environment: Values of the parameters; targets are added to it.
        apply: Computes the value of a statement from its number, itself and its arguments' values.

    Returns:
        The environment after the last statement.

    Raises:
        KeyError: If a variable is read before it is defined; the argument is its name.
    """
    get = environment.__getitem__
    for number, statement in enumerate(statements):
        arguments = list(map(get, statement.arguments))
        environment[statement.target] = apply(number, statement, arguments)
    return environment
