"""Live statements and states: liveness within a step and across steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

from optforge.analysis.walk import Environment, walk
from optforge.language import Program, Statement


@dataclass(frozen=True)
class Liveness:
    """Live statements and states as bit masks (bit i stands for statement or state i).

    Args:
        within: Statements that reach the update or a next state, as the paper counts them.
        across: Statements that reach an update of this or any later step.
        states: States that are read by such statements, directly or through other states.
    """

    within: int
    across: int
    states: int


def _constant(value: float) -> int:
    return 0


def _apply(number: int, statement: Statement, masks: list[int]) -> int:
    mask = 1 << number
    for other in masks:
        mask |= other
    return mask


def liveness(program: Program) -> Liveness:
    """Track dependencies through a step, then through the states to a fixed point.

    Example:
        >>> from optforge.language import load_rule
        >>> live = liveness(load_rule("program_8"))
        >>> live.within.bit_count(), live.across.bit_count(), live.states
        (13, 12, 2)

    Source: "Symbolic Discovery of Optimization Algorithms", section 2.2; the analysis across states
        was done by hand in the paper.
    """
    count = len(program.statements)
    states = [1 << (count + number) for number in range(len(program.states))]
    environment = Environment(program.parameters, (0, 0, *states, 0), _constant)
    walk(program.statements, environment, _apply)
    update, *rest = [environment[name] for name in program.outputs]
    return across_steps(update, rest, count)


def across_steps(update: int, rest: list[int], count: int) -> Liveness:
    """Follow dependencies through the states to a fixed point.

    Args:
        update: Statements (bits below ``count``) and states (bits from there) behind the update.
        rest: The same for the next value of each state.
        count: Number of statements.
    """
    within = update
    for mask in rest:
        within |= mask
    across, done = update, 0
    while pending := (across >> count) & ~done:
        for number, mask in enumerate(rest):
            if pending >> number & 1:
                across |= mask
        done |= pending
    body = (1 << count) - 1
    return Liveness(within & body, across & body, across >> count)


def live_program(program: Program, live: Liveness | None = None) -> Program:
    """Remove dead statements and dead states; the result computes the same updates.

    Example:
        >>> from optforge.language import load_rule
        >>> lean = live_program(load_rule("program_8"))
        >>> len(lean.statements), lean.states
        (12, ('v',))
    """
    live = liveness(program) if live is None else live
    count, states = len(program.statements), len(program.states)
    statements, parameters, outputs = program.statements, program.parameters, program.outputs
    if live.across != (1 << count) - 1:
        marks = map(int, f"{live.across:0{count}b}"[::-1])  # of each statement, from the first on
        statements = tuple(compress(statements, marks))
    if live.states != (1 << states) - 1:
        keep = [number for number in range(states) if live.states >> number & 1]
        parameters = (*parameters[:2], *(program.states[n] for n in keep), program.lr)
        outputs = (outputs[0], *(outputs[1 + n] for n in keep))
    return Program(parameters, statements, outputs)


def reads_gradient(program: Program) -> bool:
    """Return whether the gradient can influence the updates of a program without dead code.

    Example:
        >>> from optforge.language import load_rule
        >>> reads_gradient(load_rule("adamw"))
        True
    """
    live = liveness(program)
    used, name = False, program.gradient
    shadowed = False
    for number, statement in enumerate(program.statements):
        if not shadowed and live.across >> number & 1 and name in statement.arguments:
            used = True
        shadowed = shadowed or statement.target == name
    returned = not shadowed and name in program.outputs
    return used or returned
