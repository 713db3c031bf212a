"""Programs and statements: frozen data, never executed as Python."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optforge.errors import ProgramError
from optforge.language.functions import FUNCTIONS

MAX_STATES = 4


class _Lazy(cached_property):  # type: ignore[type-arg]
    """A cached property without Python 3.11's lock, because a search creates thousands."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = vars(instance)[self.attrname] = self.func(instance)
        return value


@dataclass(frozen=True)
class Statement:
    """An application of a function: ``target = function(arguments)``.

    Args:
        target: The variable that receives the result.
        function: A name in the table of functions.
        arguments: Variables (``str``) and constants (``float``).

    Example:
        >>> Statement("update", "multiply", ("update", 0.001)).text
        'update = update * 0.001'
    """

    target: str
    function: str
    arguments: tuple[str | float, ...]

    @_Lazy
    def text(self) -> str:
        """The statement as printed in a program."""
        return f"{self.target} = {_application(self.function, self.arguments)}"


def _application(function: str, arguments: tuple[str | float, ...]) -> str:
    texts = [a if isinstance(a, str) else repr(a) for a in arguments]
    infix = FUNCTIONS[function].infix
    if infix is None or len(texts) != 2:  # a wrong number is printed as it is, for the error
        return f"{function}({', '.join(texts)})"
    left, right = texts
    if infix == "**" and left.startswith("-"):
        left = f"({left})"  # -2 ** x would read as -(2 ** x)
    return f"{left} {infix} {right}"


@dataclass(frozen=True)
class Program:
    r"""An update rule: ``(update, next states) = train(weight, gradient, states, lr)``.

    One step of training is :math:`w \leftarrow w - \text{update}`. Every name refers to the whole
    parameter tree. ``lr`` is the value of the schedule, whose peak is 1; the peak learning rate is
    a constant of the program.

    Args:
        parameters: Names in the order weight, gradient, states (0 to 4), lr.
        statements: The statements of the body, in order.
        outputs: The names returned: update, then one for each state.

    Raises:
        ProgramError: If the numbers of parameters and outputs do not match.

    Example:
        >>> step = Statement("update", "multiply", ("g", 0.1))
        >>> Program(("w", "g", "lr"), (step,), ("update",)).states
        ()

    Source: "Symbolic Discovery of Optimization Algorithms", program 2.
    """

    parameters: tuple[str, ...]
    statements: tuple[Statement, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        states = len(self.parameters) - 3
        if not 0 <= states <= MAX_STATES:
            raise ProgramError(
                f"the function takes {len(self.parameters)} parameters; allowed are weight, "
                f"gradient, 0 to {MAX_STATES} states, and lr: 3 to {3 + MAX_STATES}"
            )
        if len(self.outputs) != states + 1:
            raise ProgramError(
                f"{len(self.outputs)} values are returned; with {states} states exactly "
                f"{states + 1} must be: the update, then each state in order"
            )

    @property
    def weight(self) -> str:
        """Name of the weights."""
        return self.parameters[0]

    @property
    def gradient(self) -> str:
        """Name of the gradient."""
        return self.parameters[1]

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states, in order."""
        return self.parameters[2:-1]

    @property
    def lr(self) -> str:
        """Name of the schedule value."""
        return self.parameters[-1]

    @_Lazy
    def text(self) -> str:
        """The program as printed in the paper; parsing it returns an equal program."""
        lines = [f"def train({', '.join(self.parameters)}):"]
        lines += [f"    {statement.text}" for statement in self.statements]
        lines.append(f"    return {', '.join(self.outputs)}")
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.text


def round_constant(value: float) -> float:
    """Round a constant to the six significant digits of searched programs.

    Example:
        >>> round_constant(0.8999999761581421)
        0.9
    """
    return float(f"{value:.6g}") + 0.0  # + 0.0 turns -0.0 into 0.0


def round_constants(program: Program) -> Program:
    """Return the program with every constant rounded to six significant digits."""
    statements = tuple(
        Statement(
            s.target,
            s.function,
            tuple(a if isinstance(a, str) else round_constant(a) for a in s.arguments),
        )
        for s in program.statements
    )
    return Program(program.parameters, statements, program.outputs)
