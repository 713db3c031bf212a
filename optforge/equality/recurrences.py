"""States as recurrences: equalities that follow from all steps together and from no single one.

Saturation of one step cannot find that a state is always zero, that two states are always equal, or
that a state may be stored at another scale. Each of these is an induction over the steps: states
begin at zero, and the claim about the next values is proved by saturation under the claim about the
present values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy
from numpy import ndarray

from optforge.analysis import live_program
from optforge.equality.derivation import EXACT, Change, DerivationStep, Link
from optforge.equality.extract import graph_cost
from optforge.equality.graph import CONSTANT, WEIGHT, Graph, state_leaf, to_program
from optforge.equality.names import kinds_of, living_states, with_names
from optforge.equality.reference import ReferenceRule
from optforge.equality.saturate import Bounds, saturate
from optforge.equality.simplest import simplest
from optforge.equality.tidy import tidy_graph
from optforge.language import Kind, Program

_STEPS = 6
_NEAR = 1e-9


@dataclass(frozen=True)
class _StateChoice:
    """Another choice of states: the graph over them, their links, and the argument for it."""

    graph: Graph
    links: tuple[Link, ...]
    why: str


class Recurrences:
    """The pass that changes the states of a rule.

    Args:
        bounds: Bounds of the saturation.

    Example:
        >>> from optforge.language import parse
        >>> program = parse('''
        ... def train(w, g, m, v, lr):
        ...     m = interp(g, m, 0.9)
        ...     v = interp(g, v, 0.9)
        ...     u = m * v
        ...     return u, m, v
        ... ''')
        >>> Recurrences().apply(program).program.states
        ('m',)
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds
        self.timed_out = False  # whether the wall clock has ended a saturation

    def apply(self, program: Program) -> Change | None:
        """Merge states, or store one at another scale, if that makes the rule simpler."""
        graph = tidy_graph(program)
        if not graph.kinds:
            return None
        price = graph_cost(graph)
        for candidate in self._candidates(program, graph):
            simple = simplest(candidate.graph, bounds=self.bounds)
            self.timed_out |= "time" in simple.stopped
            simple_graph = simple.graph
            if graph_cost(simple_graph) >= price:
                continue
            form = to_program(simple_graph)
            left = living_states(form)
            links = tuple(candidate.links[number] for number in left)
            names = [program.states[link.source or 0] for link in links]
            after = with_names(form, program, names)
            if kinds_of(after) != tuple(simple_graph.kinds[number] for number in left):
                continue
            step = DerivationStep(EXACT, program.text, after.text, candidate.why)
            return Change(after, step, links)
        return None

    def _candidates(self, program: Program, graph: Graph) -> Iterator[_StateChoice]:
        lean = live_program(program)
        kept = [program.states.index(name) for name in lean.states]
        histories = _histories(to_program(graph))
        for other, state in permutations(range(len(graph.kinds)), 2):  # the first one stays
            factor = _factor(histories[state], histories[other])
            if factor is not None and graph.kinds[state] == graph.kinds[other]:
                candidate = self._merged(graph, state, other, factor, kept, lean.states)
                if candidate is not None:
                    yield candidate
        for number, history in enumerate(histories):
            if not history.any():
                candidate = self._zero(graph, number, kept, lean.states)
                if candidate is not None:
                    yield candidate
        for number in range(len(graph.kinds)):
            yield from _rescaled(graph, number, kept, lean.states)

    def _merged(
        self,
        graph: Graph,
        state: int,
        other: int,
        factor: float,
        kept: list[int],
        names: tuple[str, ...],
    ) -> _StateChoice | None:
        """Try to prove that state ``state`` is always ``factor`` times state ``other``."""
        merged, places, links = _without(graph, state, kept)

        def replacement() -> int:
            left = state_leaf(other - (other > state))
            return _times(merged, merged.add(left), factor)

        values = _rewritten(graph, merged, state, replacement, places)
        left = values[graph.outputs[1 + other]]
        claim = (values[graph.outputs[1 + state]], _times(merged, left, factor))
        if not self._equal(merged, *claim):
            return None
        _finish(merged, graph, state, values)
        times = "" if factor == 1 else f"{factor!r} times "
        why = (
            f"state {names[state]} is always {times}state {names[other]}: both begin at zero, and "
            "if it holds at a step, it holds at the next"
        )
        return _StateChoice(merged, links, why)

    def _zero(
        self, graph: Graph, number: int, kept: list[int], names: tuple[str, ...]
    ) -> _StateChoice | None:
        """Try to prove that a state is always zero."""
        merged, places, links = _without(graph, number, kept)

        def zero() -> int:
            return _zero_of(merged, graph.kinds[number])

        values = _rewritten(graph, merged, number, zero, places)
        if not self._equal(merged, values[graph.outputs[1 + number]], zero()):
            return None
        _finish(merged, graph, number, values)
        why = f"state {names[number]} begins at zero and stays there"
        return _StateChoice(merged, links, why)

    def _equal(self, graph: Graph, left: int, right: int) -> bool:
        """Try to prove by saturation that two values of a graph are equal."""
        claim = Graph(graph.kinds, graph.nodes, (left, right))
        saturated = saturate(claim, bounds=self.bounds, known_signs=False)
        return saturated.outputs[0] == saturated.outputs[1]


def _zero_of(graph: Graph, kind: int) -> int:
    """Add zeros of a kind to a graph."""
    nothing = graph.constant(0.0)
    if kind == Kind.SCALAR:
        return nothing
    tree = graph.add("multiply", (graph.add(WEIGHT), nothing))
    if kind == Kind.TREE:
        return tree
    if kind == Kind.ARRAY:
        return graph.add("norm", (tree,))
    turned = graph.add("transpose", (tree,))
    if kind == Kind.TRANSPOSED:
        return turned
    return graph.add("matmul", (tree, turned) if kind == Kind.ROW_SQUARE else (turned, tree))


def _without(
    graph: Graph, number: int, kept: list[int]
) -> tuple[Graph, dict[str, str], tuple[Link, ...]]:
    """Start a graph that lacks one state; return the new leaves of the other states."""
    left = [n for n in range(len(graph.kinds)) if n != number]
    places = {state_leaf(n): state_leaf(place) for place, n in enumerate(left)}
    links = tuple(Link(kept[n]) for n in left)
    return Graph(tuple(graph.kinds[n] for n in left)), places, links


def _rewritten(
    graph: Graph, result: Graph, number: int, replacement: Callable[[], int], places: dict[str, str]
) -> dict[int, int]:
    """Copy a graph, with one state replaced and the others renumbered."""

    def replaced(index: int) -> int | None:
        operation = graph.nodes[index].operation
        if operation == state_leaf(number):
            return replacement()
        return result.add(places[operation]) if operation in places else None

    return graph.copy_into(result, replaced)


def _finish(result: Graph, graph: Graph, number: int, values: dict[int, int]) -> None:
    outputs = [values[o] for place, o in enumerate(graph.outputs) if place != 1 + number]
    result.outputs = tuple(outputs)


def _times(graph: Graph, index: int, factor: float) -> int:
    if factor == 1:
        return index
    return graph.add("multiply", (index, graph.constant(factor)))


def _rescaled(
    graph: Graph, number: int, kept: list[int], names: tuple[str, ...]
) -> Iterator[_StateChoice]:
    """Yield choices that store a state which decays as ``q state + new`` at the scale 1 - q."""
    for factor in _scales(graph, number):
        result = Graph(graph.kinds)

        def leaf(result: Graph = result, factor: float = factor) -> int:
            return _times(result, result.add(state_leaf(number)), 1 / factor)

        values = _rewritten(graph, result, number, leaf, {})
        outputs = [values[output] for output in graph.outputs]
        outputs[1 + number] = _times(result, outputs[1 + number], factor)
        result.outputs = tuple(outputs)
        links = tuple(
            Link(source, factor if place == number else 1.0) for place, source in enumerate(kept)
        )
        why = (
            f"state {names[number]} is kept at {factor!r} times its scale: zero stays zero, each "
            "next value is multiplied by that, and each reading divides by it"
        )
        yield _StateChoice(result, links, why)


def _scales(graph: Graph, number: int) -> list[float]:
    """Return 1 - q for each product of the state with a constant q on the way to its next value."""
    factors = []
    for index in graph.reached([graph.outputs[1 + number]]):
        node = graph.nodes[index]
        arguments = [graph.nodes[a] for a in node.arguments]
        if node.operation == "multiply" and any(
            a.operation == state_leaf(number) for a in arguments
        ):
            factors += [a.value for a in arguments if a.operation == CONSTANT]
    return [float(f"{1 - q:.15g}") for q in factors if 0 < q < 1]


def _histories(program: Program) -> list[ndarray]:
    """Run a program for a few steps on random inputs; return each state's values, one row each."""
    rule, source = ReferenceRule(program), numpy.random.default_rng(7)
    states = rule.zeros()
    histories: list[list[ndarray]] = [[] for _ in states]
    for step in range(_STEPS):
        weights, gradients = source.normal(size=(2, rule.layout.elements))
        moment = (step, _STEPS)
        states = rule.step(weights, gradients, states, 1.0 - step / 10, moment=moment).states
        for history, state in zip(histories, states, strict=True):
            history.append(numpy.nan_to_num(state, nan=1.0, posinf=1.0, neginf=-1.0))
    return [numpy.concatenate(history) for history in histories]


def _factor(values: ndarray, other: ndarray) -> float | None:
    """Return ``c`` with ``values == c * other``, or None if there is none or ``other`` is zero."""
    if values.shape != other.shape or not other.any():
        return None
    factor = float(values @ other / (other @ other))
    if factor == 0 or not numpy.allclose(values, factor * other, rtol=_NEAR, atol=0):
        return None
    return float(f"{factor:.12g}")
