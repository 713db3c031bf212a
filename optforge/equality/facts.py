"""Known signs of values: a table by function, and states by induction."""

from __future__ import annotations

from collections.abc import Callable

from optforge.equality.graph import CONSTANT, LR, Graph

Known = Callable[[int], bool]

ALWAYS_NONNEGATIVE = frozenset(
    ("abs", "square", "sqrt", "exp", "exp2", "exp10", "cosh", "arccos", "arccosh")
    + ("norm", "global_norm", "get_pi", "get_e", "get_eps", "get_step", "get_progress")
    + ("rms", "row_norm", "row_rms", "column_norm", "column_rms")
)
"""Never below zero, whatever the arguments."""

NONNEGATIVE_IF_ALL = frozenset(
    ("add", "multiply", "divide", "minimum", "maximum", "power", "reciprocal", "dot")
    + ("cube", "cbrt", "sinh", "tanh", "arctan", "arcsinh", "arcsin", "arctanh", "sign")
    + ("expm1", "log1p", "clip", "cosine_sim", "where", "where_matrix")
    + ("mean", "row_mean", "column_mean", "transpose", "matmul")
)
"""Never below zero if no argument is; the condition of ``where`` does not count."""

NONNEGATIVE_IF_ANY = frozenset(("maximum",))
"""Never below zero if one argument is not."""

ALWAYS_POSITIVE = frozenset(
    ("exp", "exp2", "exp10", "cosh", "get_pi", "get_e", "get_eps", "get_step", "get_progress")
)
"""Above zero, whatever the arguments."""

POSITIVE_IF_ALL = frozenset(
    ("add", "multiply", "divide", "minimum", "maximum", "power", "reciprocal")
    + ("cube", "cbrt", "sinh", "tanh", "arctan", "arcsinh", "arcsin", "arctanh", "sign")
    + ("expm1", "log1p", "abs", "square", "sqrt", "norm", "global_norm")
    + ("where", "where_matrix", "transpose", "matmul", "mean", "row_mean", "column_mean")
    + ("rms", "row_norm", "row_rms", "column_norm", "column_rms")
)
"""Above zero if all arguments are; the condition of ``where`` does not count."""


def nonnegative_states(graph: Graph) -> tuple[bool, ...]:
    r"""Return for each state whether it is never below zero.

    The proof is by induction over the steps: states begin at zero, and a set of states stays
    nonnegative if each next value is nonnegative whenever all states of the set are. The largest
    such set is found by starting with all states and removing those whose next value is not known
    to be nonnegative.

    Example:
        >>> from optforge.equality.graph import to_graph
        >>> from optforge.language import load_rule
        >>> nonnegative_states(to_graph(load_rule("adamw")))
        (False, True)
    """
    assumed = (True,) * len(graph.kinds)
    while True:
        nonnegative = _nonnegative(graph, assumed)
        next_values = graph.outputs[1:]
        held = tuple(a and nonnegative[i] for a, i in zip(assumed, next_values, strict=True))
        if held == assumed:
            return held
        assumed = held


def _nonnegative(graph: Graph, states: tuple[bool, ...]) -> list[bool]:
    nonnegative: list[bool] = []
    for node in graph.nodes:
        if node.operation == CONSTANT:
            nonnegative.append(node.value >= 0)
        elif node.operation == LR:
            nonnegative.append(True)
        elif node.operation == "interp":
            weight = graph.nodes[node.arguments[2]]
            inside = weight.operation == CONSTANT and 0 <= weight.value <= 1
            nonnegative.append(
                inside and nonnegative[node.arguments[0]] and nonnegative[node.arguments[1]]
            )
        elif node.operation == "multiply" and node.arguments[0] == node.arguments[1]:
            nonnegative.append(True)
        elif node.operation.startswith("state"):
            nonnegative.append(states[int(node.operation.removeprefix("state"))])
        else:
            arguments = node.arguments[node.operation == "where" :]
            nonnegative.append(_by_table(node.operation, [nonnegative[a] for a in arguments]))
    return nonnegative


def _by_table(operation: str, arguments: list[bool]) -> bool:
    if operation in ALWAYS_NONNEGATIVE:
        return True
    if operation in NONNEGATIVE_IF_ANY and any(arguments):
        return True
    return operation in NONNEGATIVE_IF_ALL and bool(arguments) and all(arguments)
