"""What a rule computes for arrays of one role: hidden matrices, tables that are none, columns.

Functions that look at matrices mean something else for each role. So a rule's graph is specialised:
``where_matrix`` becomes one of its arguments, ``orthogonalize`` a sign where it is one, a mean over
columns the mean of an array that is one column. States that a role never reads are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from torch import Tensor

from optforge.language import Kind, may_be_matrix
from optforge.language.layout import as_matrix
from optforge.optim.rules.arrays import LINES, SPREADS
from optforge.optim.rules.graph import RuleGraph, reached
from optforge.optim.rules.nodes import RuleNode


class ArrayRole(Enum):
    """How a rule sees an array."""

    MATRIX = "hidden matrix"
    TABLE = "two sides, but no hidden matrix"
    COLUMN = "one column"


def role_of(parameter: Tensor, matrices: bool | None) -> ArrayRole:
    """Return the role of a parameter.

    Args:
        parameter: The parameter; an array without two sides is never a hidden matrix.
        matrices: What its group says; None: whatever has two sides and no mark is a matrix.

    Example:
        >>> import torch
        >>> role_of(torch.zeros(4, 3), None).name, role_of(torch.zeros(4), True).name
        ('MATRIX', 'COLUMN')
    """
    rows, columns = as_matrix(tuple(parameter.shape))
    counts = may_be_matrix(parameter) if matrices is None else matrices
    if counts and min(rows, columns) > 1:
        return ArrayRole.MATRIX
    return ArrayRole.COLUMN if columns == 1 else ArrayRole.TABLE


@lru_cache(1024)
def graph_for(graph: RuleGraph, role: ArrayRole) -> RuleGraph:
    """Specialise a graph for a role; sums and numbers keep their places.

    Example:
        >>> from optforge.language import parse
        >>> from optforge.optim.rules.graph import graph_of
        >>> graph = graph_of(parse('''
        ... def train(w, g, v, lr):
        ...     s = square(g)
        ...     v = interp(s, v, 0.9)
        ...     a = sqrt(v)
        ...     a = g / a
        ...     o = orthogonalize(g)
        ...     u = where_matrix(o, a)
        ...     return u, v
        ... '''))
        >>> graph_for(graph, ArrayRole.MATRIX).stored, graph_for(graph, ArrayRole.COLUMN).stored
        ((), (0,))
    """
    if not graph.by_role:
        return graph
    values: dict[int, RuleNode] = {}
    weight = graph.weight
    for node in graph.nodes:
        if node.kind == Kind.SCALAR and node.op != "sum":
            values[node.index] = node
        else:
            known = [values[a.index] if isinstance(a, RuleNode) else a for a in node.arguments]
            values[node.index] = _specialised(node, known, role, weight)
    states = [values[node.index] for node in graph.states]
    sums = [values[node.index] for node in graph.nodes if node.op == "sum"]
    update = values[graph.update.index]
    stored = _stored([update, *sums], states)
    kept = [
        state if number in stored or node.kind == Kind.SCALAR else node.replaced("state", (number,))
        for number, (state, node) in enumerate(zip(states, graph.states, strict=True))
    ]
    roots = [update, *sums, *(states[number] for number in stored)]
    scalars = [node for node in graph.nodes if node.kind == Kind.SCALAR and node.op != "sum"]
    nodes = {node.index: node for node in (*scalars, *reached(roots))}
    ordered = tuple(nodes[index] for index in sorted(nodes))
    return RuleGraph(
        graph.lifted,
        graph.kinds,
        ordered,
        update,
        tuple(kept),
        weight,
        stored,
        role is ArrayRole.MATRIX,
    )


def _stored(roots: Sequence[RuleNode], states: Sequence[RuleNode]) -> tuple[int, ...]:
    """Return the numbers of the states that matter, for this step's update or a later one's."""
    stored: set[int] = set()
    while True:
        numbers = _states_read([*roots, *(states[number] for number in stored)])
        if numbers <= stored:
            return tuple(sorted(stored))
        stored |= numbers


def _states_read(roots: Iterable[RuleNode]) -> set[int]:
    nodes = reached(roots)
    return {n.arguments[0] for n in nodes if n.op == "state" and n.kind != Kind.SCALAR}


def _specialised(node: RuleNode, known: list[Any], role: ArrayRole, weight: RuleNode) -> RuleNode:
    """Return what a node becomes, from what its arguments have become."""
    is_matrix = role is ArrayRole.MATRIX
    like = (weight,) if node.kind == Kind.TREE else ()
    if node.op == "where_matrix":
        chosen = known[0] if is_matrix else known[1]
        if isinstance(chosen, RuleNode) and chosen.kind == node.kind:
            return chosen
        kind = node.kind if is_matrix or node.kind == Kind.ARRAY else Kind.TREE
        return node.replaced(SPREADS[kind], (chosen, weight))
    if node.op in ("transpose", "matmul") and is_matrix:
        return node.replaced(node.op, (*known, *like))
    if node.op == "transpose":
        return known[0]
    if node.op == "matmul":
        return node.replaced("multiply", known)
    if node.op == "orthogonalize" and not is_matrix:
        return node.replaced("sign", known)
    if node.op in LINES and role is ArrayRole.COLUMN:
        return _line_of_a_column(node, known)
    return node.replaced(node.op, known)


def _line_of_a_column(node: RuleNode, known: list[Any]) -> RuleNode:
    """Rows of a column are its elements; its one column is all of it."""
    side, what = node.op.split("_")
    if side == "column":
        return node.replaced(f"whole_{what}", known)
    return known[0] if what == "mean" else node.replaced("abs", known)
