"""The cost of a rule: state bytes, memory traffic and arithmetic per parameter."""

from __future__ import annotations

from dataclasses import dataclass

from optforge.analysis.kinds import constant, state_kinds
from optforge.analysis.liveness import live_program
from optforge.analysis.walk import Environment, walk
from optforge.language import FUNCTIONS, Kind, Program, Statement

_REDUCING = ("per_array", "whole", "lines", "matrix", "product")


@dataclass(frozen=True)
class Cost:
    """Cost of the live program per parameter element of a large model.

    Nearly all elements of a large model are in hidden matrices, so a state read only by other
    arrays costs nothing.

    Args:
        state_bytes: Bytes of state between steps; scalars cost nothing per parameter.
        traffic_bytes: Bytes read and written by one fused step: weight, gradient, states in;
            weight, states out.
        operations: Number of arithmetic operations; a transcendental function counts as 10.
        reductions: Number of passes over the whole tree that must finish before others start.
        statements: Number of live statements.
    """

    state_bytes: float
    traffic_bytes: float
    operations: int
    reductions: int
    statements: int


def cost(program: Program, bytes_per_element: int = 4) -> Cost:
    """Return the cost of one step per parameter.

    Args:
        program: A valid program.
        bytes_per_element: Size of an element of weights, gradients and states; 4 for float32.

    Example:
        >>> from optforge.language import load_rule
        >>> cost(load_rule("adamw")).state_bytes, cost(load_rule("lion")).traffic_bytes
        (8.0, 20.0)
    """
    lean = live_program(program)
    kinds, stored = state_kinds(lean), on_matrices(lean).states
    totals = {"operations": 0, "reductions": 0}

    def apply(number: int, statement: Statement, values: list[int]) -> int:
        row = FUNCTIONS[statement.function]
        if values and max(values) >= Kind.TREE:
            totals["operations"] += row.cost
            totals["reductions"] += row.form in _REDUCING or row.name == "clip"
        return row.result(tuple(values))

    values = (Kind.TREE, Kind.TREE, *kinds, Kind.SCALAR)
    walk(lean.statements, Environment(lean.parameters, values, constant), apply)
    states = zip(lean.states, kinds, strict=True)
    trees = sum(kind >= Kind.TREE and name in stored for name, kind in states)
    return Cost(
        float(bytes_per_element * trees),
        float(bytes_per_element * (3 + 2 * trees)),
        totals["operations"],
        totals["reductions"],
        len(lean.statements),
    )


def on_matrices(program: Program) -> Program:
    """Return a program without the states that only arrays other than hidden matrices read.

    The kinds of its values may differ from those of the program; it is only for counting.

    Example:
        >>> from optforge.language import parse
        >>> rule = parse("def train(w, g, v, lr):\\n    u = where_matrix(g, v)\\n    return u, g")
        >>> on_matrices(rule).states
        ()
    """
    if all(statement.function != "where_matrix" for statement in program.statements):
        return program
    statements = tuple(
        Statement(s.target, "multiply", (s.arguments[0], 1.0))
        if s.function == "where_matrix"
        else s
        for s in program.statements
    )
    return live_program(Program(program.parameters, statements, program.outputs))
