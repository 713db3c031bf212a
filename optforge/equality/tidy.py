"""A normal form of equal graphs: constants folded and rounded, arguments in conventional order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from hashlib import blake2b

import numpy

from optforge.equality.graph import CONSTANT, Graph, to_graph
from optforge.language import FUNCTIONS, Program
from optforge.language.functions import EPSILON

_NAMED = (math.pi, math.e, EPSILON)  # what get_pi, get_e and get_eps give
_NEAR = 1e-13  # relative: numbers that differ by rounding alone
_DIGITS = 15  # that a computed constant keeps


def tidy(graph: Graph, known: Iterable[float] = ()) -> Graph:
    """Fold constants, round computed ones to 15 digits, and order arguments by convention.

    Constants written by the author stay unchanged. ``interp(state, new, a)`` is written
    ``interp(new, state, 1 - a)``, so that the last argument is the usual beta; commutative
    arguments have constants last.

    Args:
        graph: One step of a rule.
        known: Constants written by the author.

    Example:
        >>> from optforge.equality.graph import to_graph, to_program
        >>> from optforge.language import parse
        >>> text = "def train(w, g, m, lr):\\n    m = interp(m, g, 0.1)\\n    return m, m\\n"
        >>> to_program(tidy(to_graph(parse(text)))).statements[0].text
        'v1 = interp(gradient, state0, 0.9)'
    """
    written = sorted({*known, *_NAMED})
    result = Graph(graph.kinds)
    places: dict[int, int] = {}
    digests: dict[int, str] = {}
    for index in graph.reached():
        node = graph.nodes[index]
        arguments = [places[argument] for argument in node.arguments]
        if node.operation == CONSTANT:
            places[index] = result.constant(_rounded(node.value, written))
        else:
            places[index] = _placed(result, node.operation, arguments, digests, written)
        _note(result, places[index], digests)
    result.outputs = tuple(places[index] for index in graph.outputs)
    return result


def tidy_graph(program: Program) -> Graph:
    """Return the tidy graph of a program, keeping its constants as written."""
    arguments = (a for statement in program.statements for a in statement.arguments)
    return tidy(to_graph(program), (a for a in arguments if isinstance(a, float)))


def _placed(
    graph: Graph, operation: str, arguments: list[int], digests: dict[int, str], known: list[float]
) -> int:
    values = [graph.nodes[argument] for argument in arguments]
    if operation in FUNCTIONS and all(value.operation == CONSTANT for value in values):
        folded = fold(operation, [value.value for value in values])
        if folded is not None:
            return graph.constant(_rounded(folded, known))
    if operation == "interp" and values[2].operation == CONSTANT:
        first, second = values[0].operation, values[1].operation
        if first.startswith("state") and not second.startswith("state"):
            other = graph.constant(_complement(values[2].value))
            _note(graph, other, digests)
            arguments = [arguments[1], arguments[0], other]
    elif operation in FUNCTIONS and FUNCTIONS[operation].commutative:
        arguments.sort(key=lambda a: (graph.nodes[a].operation == CONSTANT, digests[a]))
    return graph.add(operation, arguments)


def _note(graph: Graph, index: int, digests: dict[int, str]) -> None:
    """Record the sort key of an argument: inputs by name, then values by their form."""
    if index not in digests:
        node = graph.nodes[index]
        parts = [node.operation, repr(node.value), *(digests[a] for a in node.arguments)]
        digest = blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
        digests[index] = f"2{digest}" if node.arguments else f"1{node.operation}{node.value!r}"


def fold(operation: str, values: list[float]) -> float | None:
    """Compute a function of constants in float64; None if the result is not a finite constant.

    Example:
        >>> fold("sqrt", [4.0])
        2.0
    """
    if FUNCTIONS[operation].form in ("clock", "by_role"):
        return None
    with numpy.errstate(all="ignore"):
        arrays = [numpy.array([value]) for value in values]
        result = float(numpy.asarray(FUNCTIONS[operation].apply_numpy(*arrays)).reshape(-1)[0])
    return result if numpy.isfinite(result) and abs(result) < 1e100 else None


def _rounded(value: float, known: list[float]) -> float:
    for other in known:
        if abs(other - value) <= _NEAR * abs(other):
            return other
    return float(f"{value:.{_DIGITS}g}") + 0.0


def _complement(value: float) -> float:
    """Return 1 - a, computed in decimal as a reader would compute it."""
    return float(1 - Decimal(repr(value)))
