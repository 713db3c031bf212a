"""Extraction of the cheapest program in a saturated graph, with shared values counted once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import permutations

from optforge.equality.graph import CONSTANT, WEIGHT, Graph
from optforge.equality.saturate import Choice, Saturated
from optforge.language import FUNCTIONS

# How constants of a kind are written as statements.
REALISED = {"zero_tree": ("multiply",), "one_tree": ("power",), "zero_array": ("multiply", "norm")}
_STATEMENT, _EDGE, _DIGIT, _OPERATION = 10_000_000, 100_000, 1_000, 10
_MOST = 99  # of arithmetic that counts, so that it weighs less than a digit
_ORDERS = 6  # of the outputs that are tried


def constant_digits(value: float) -> int:
    """Return the digits of a constant that a reader must read: significant ones and the exponent's.

    Example:
        >>> constant_digits(0.9), constant_digits(0.8999999761581421), constant_digits(1e-8)
        (1, 16, 2)
    """
    mantissa, _, exponent = repr(abs(value)).partition("e")
    digits = mantissa.replace(".", "").strip("0")
    return max(len(digits), 1) + len(exponent.lstrip("+-0"))


def node_cost(operation: str, arguments: Sequence[str], value: float = 0.0) -> int:
    """Return the cost of a value alone: a statement, its dependencies, digits, arithmetic."""
    if operation == CONSTANT:
        return _DIGIT * (constant_digits(value) + 1) + (value < 0)
    if operation in REALISED:
        return _STATEMENT * len(REALISED[operation])
    row = FUNCTIONS.get(operation)
    if row is None:
        return 0
    edges = sum(argument in FUNCTIONS for argument in arguments)
    return _STATEMENT + _EDGE * edges + _OPERATION * min(row.cost, _MOST) + len(arguments)


def graph_cost(graph: Graph) -> int:
    """Return the cost of all that the outputs need; a constant output costs one more statement."""
    total = sum(_STATEMENT for i in set(graph.outputs) if graph.nodes[i].operation == CONSTANT)
    for index in graph.reached():
        node = graph.nodes[index]
        arguments = [graph.nodes[a].operation for a in node.arguments]
        total += node_cost(node.operation, arguments, node.value)
    return total


def structure(graph: Graph) -> str:
    """Hash a graph's form, so that ties are resolved independently of names and order."""
    digests: dict[int, str] = {}
    for index in graph.reached():
        node = graph.nodes[index]
        key = (node.operation, repr(node.value), *(digests[a] for a in node.arguments))
        digests[index] = _digest(key)
    return _digest(tuple(digests[index] for index in graph.outputs))


def _digest(key: tuple[str, ...]) -> str:
    return blake2b("\0".join(key).encode(), digest_size=8).hexdigest()


@dataclass
class _Best:
    """The best known choice of a class, with all classes it needs and their costs."""

    total: int
    digest: str
    choice: Choice
    needs: dict[int, int] = field(default_factory=dict)


def extract(saturated: Saturated, kinds: tuple[int, ...]) -> Graph:
    """Choose a way of computing every class that the outputs need, as cheaply as possible.

    The exact optimum over shared values is hard to find in general. Here each class chooses the set
    of classes that costs least (shared ones counted once), output after output in several orders,
    where already chosen classes are free. The cheapest result is returned.

    Args:
        saturated: Classes and outputs.
        kinds: Kinds of the states.
    """
    begun: dict[tuple[int, ...], dict[int, _Best]] = {}
    graphs = [
        _build(saturated, kinds, _in_order(saturated, order, begun))
        for order in _orders(saturated.outputs)
    ]
    return min(graphs, key=lambda graph: (graph_cost(graph), structure(graph)))


def cheapest(classes: Sequence[Sequence[Choice]]) -> dict[int, Choice]:
    """Choose the cheapest way for every class on its own."""
    return {here: best.choice for here, best in _choose(classes, {}).items()}


def _orders(outputs: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    distinct = tuple(dict.fromkeys(outputs))
    for number, order in enumerate(permutations(distinct)):
        if number == _ORDERS:
            return
        yield order


def _in_order(
    saturated: Saturated, order: tuple[int, ...], begun: dict[tuple[int, ...], dict[int, _Best]]
) -> dict[int, Choice]:
    """Choose for one output after another; earlier choices stay and are free.

    Orders that begin alike share what was found for their beginnings.
    """
    fixed: dict[int, Choice] = {}
    for number, output in enumerate(order):
        if (beginning := order[:number]) not in begun:
            begun[beginning] = _choose(saturated.classes, fixed)
        best, stack = begun[beginning], [output]
        while stack:
            here = stack.pop()
            if here not in fixed:
                fixed[here] = best[here].choice
                stack += best[here].choice.arguments
    return fixed


def _choose(classes: Sequence[Sequence[Choice]], fixed: dict[int, Choice]) -> dict[int, _Best]:
    """Return the cheapest set of classes for every class; an improved class updates its users."""
    best: dict[int, _Best] = {}
    users: dict[int, list[tuple[int, Choice]]] = {}
    pending: dict[int, None] = {}
    for here, choices in enumerate(classes):
        for choice in [fixed[here]] if here in fixed else choices:
            for argument in set(choice.arguments):
                users.setdefault(argument, []).append((here, choice))
            if not choice.arguments and _improve(best, here, choice, here in fixed):
                pending[here] = None
    while pending:
        here = next(iter(pending))
        del pending[here]
        for user, choice in users.get(here, ()):
            if all(a in best for a in choice.arguments) and _improve(
                best, user, choice, user in fixed
            ):
                pending[user] = None
    return best


def _improve(best: dict[int, _Best], here: int, choice: Choice, free: bool) -> bool:
    needs: dict[int, int] = {}
    for argument in choice.arguments:
        needs.update(best[argument].needs)
    if here in needs:
        return False  # it would need itself
    arguments = [best[a].choice.operation for a in choice.arguments]
    price = 0 if free else node_cost(choice.operation, arguments, choice.value)
    needs[here] = price
    total = sum(needs.values())
    known = best.get(here)
    if known is not None and total > known.total:
        return False
    key = (choice.operation, repr(choice.value), *(best[a].digest for a in choice.arguments))
    digest = _digest(key)
    if known is not None and (total, digest) >= (known.total, known.digest):
        return False
    best[here] = _Best(total, digest, choice, needs)
    return True


def _build(saturated: Saturated, kinds: tuple[int, ...], chosen: dict[int, Choice]) -> Graph:
    graph = Graph(kinds)
    places: dict[int, int] = {}

    def place(here: int) -> int:
        if here not in places:
            choice = chosen[here]
            if choice.operation in REALISED:
                places[here] = _realised(graph, choice.operation)
                return places[here]
            arguments = [place(argument) for argument in choice.arguments]
            places[here] = graph.add(choice.operation, arguments, choice.value)
        return places[here]

    graph.outputs = tuple(place(output) for output in saturated.outputs)
    return graph


def _realised(graph: Graph, operation: str) -> int:
    place = graph.add(WEIGHT)
    for function in REALISED[operation]:
        place = graph.add(
            function, (place,) if function == "norm" else (place, graph.constant(0.0))
        )
    return place
