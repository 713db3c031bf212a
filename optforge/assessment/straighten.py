"""A rule with its schedule straightened: only the learning rate follows the schedule."""

from __future__ import annotations

from optforge.analysis.degree import degrees
from optforge.language import Program, Statement

_HALF_WAY = 0.5  # what stands for the share of the run, which shapes a rate as the schedule does


def straightened(program: Program) -> Program:
    r"""Return the rule without its own use of the schedule.

    Every read of the schedule's value is replaced by 1, its peak, and the whole update is
    multiplied by the value once, at the end:

    .. math:: u(w, g, s, \text{lr}) \to \text{lr} \cdot u(w, g, s, 1)

    So a rule whose update is proportional to the schedule stays the same, and one that takes a root
    of the schedule, or clips by it, loses that. The gain that is left does not come from a
    different schedule.

    Args:
        program: A valid program.

    Example:
        >>> from optforge.language import parse
        >>> rule = parse("def train(w, g, lr):\n    lr = sqrt(lr)\n    u = g * lr\n    return u")
        >>> print(straightened(rule).text.strip())
        def train(w, g, lr):
            flat = sqrt(1.0)
            u = g * flat
            straight = u * lr
            return straight
    """
    names = {*program.parameters, *(statement.target for statement in program.statements)}
    flat, last = _fresh("flat", names), _fresh("straight", names)
    statements, written = [], False
    for statement in program.statements:
        arguments = tuple(_replaced(a, program.lr, flat, written) for a in statement.arguments)
        target, function = statement.target, statement.function
        if function == "get_progress":
            function, arguments = "multiply", (_HALF_WAY, 1.0)
        if target == program.lr:
            target, written = flat, True
        statements.append(Statement(target, function, arguments))
    if program.lr in program.outputs and not written:  # a state that keeps the schedule's value
        statements.append(Statement(flat, "multiply", (1.0, 1.0)))
    outputs = [flat if name == program.lr else name for name in program.outputs]
    statements.append(Statement(last, "multiply", (outputs[0], program.lr)))
    return Program(program.parameters, tuple(statements), (last, *outputs[1:]))


def follows_schedule(program: Program) -> bool:
    r"""Return whether straightening changes nothing: the update is proportional to the schedule.

    .. math:: u(w, g, s, \text{lr}) = \text{lr} \cdot u(w, g, s, 1)

    with states that do not depend on the schedule, in exact arithmetic.

    Args:
        program: A valid program.

    Example:
        >>> from optforge.language import load_rule, parse
        >>> follows_schedule(load_rule("adamw"))
        True
        >>> follows_schedule(parse("def train(w, g, lr):\n    u = clip(g, lr)\n    return u"))
        False
    """
    reads, written = set(), False
    for number, statement in enumerate(program.statements):
        if statement.function == "get_progress":
            return False
        if not written:
            reads |= {(number, i) for i, a in enumerate(statement.arguments) if a == program.lr}
        written |= statement.target == program.lr
    if program.lr in program.outputs and not written:
        return False
    rate_degrees = degrees(program, reads)
    return rate_degrees.update == 1 and all(degree == 0 for degree in rate_degrees.states)


def _replaced(argument: str | float, lr: str, flat: str, written: bool) -> str | float:
    if argument != lr:
        return argument
    return flat if written else 1.0


def _fresh(wish: str, names: set[str]) -> str:
    number = 1
    name = wish
    while name in names:
        number += 1
        name = f"{wish}{number}"
    return name
