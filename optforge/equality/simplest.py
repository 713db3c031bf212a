"""The simplest equal form of a step that the table can derive; the result is deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optforge.equality.extract import extract, graph_cost, structure
from optforge.equality.graph import CONSTANT, Graph
from optforge.equality.saturate import EXACT_REWRITES, Bounds, saturate
from optforge.equality.tidy import tidy


@dataclass(frozen=True)
class Simplest:
    """Result of the search for the simplest form.

    Args:
        graph: The simplest form.
        rows: Numbers of the rows that matched on the way.
        rounds: Number of saturations that were run.
        stopped: Why the saturations ended, without duplicates: ``saturated``, ``iterations``,
            ``size``, ``time``.
        forms: The form from which each saturation started.
    """

    graph: Graph
    rows: tuple[int, ...]
    rounds: int
    stopped: tuple[str, ...]
    forms: tuple[Graph, ...] = ()


def simplest(
    graph: Graph, rows: Sequence[int] = EXACT_REWRITES, bounds: Bounds | None = None
) -> Simplest:
    """Alternate saturation and extraction until the form does not get simpler.

    Forms are ordered by the number of statements, then by the number of dependencies, then by the
    digits of their constants, then by the arithmetic, and finally by a hash of the structure. A
    form is replaced only by one that comes before it, so simplifying twice changes nothing.

    Example:
        >>> from optforge.equality.graph import to_graph
        >>> from optforge.language import load_rule
        >>> simplest(to_graph(load_rule("program_8"))).graph.statements
        10
    """
    best = tidy(graph, _constants(graph))
    matched: set[int] = set()
    stopped: dict[str, None] = {}
    forms: list[Graph] = []
    while True:
        forms.append(best)
        saturated = saturate(best, rows, bounds)
        matched |= set(saturated.fired)
        stopped[saturated.stopped] = None
        known = _constants(graph) | _constants(best)
        next_one = _settled(extract(saturated, graph.kinds), known)
        if form_key(next_one) >= form_key(best):
            rows_used = tuple(sorted(matched))
            return Simplest(best, rows_used, len(forms), tuple(stopped), tuple(forms))
        best = next_one


def _settled(graph: Graph, known: set[float]) -> Graph:
    """Tidy until nothing changes, because a folded constant may reorder arguments."""
    while True:
        tidied = tidy(graph, known)
        if structure(tidied) == structure(graph):
            return tidied
        graph = tidied


def form_key(graph: Graph) -> tuple[int, str]:
    """Return the sort key of forms, the simplest first."""
    return graph_cost(graph), structure(graph)


def _constants(graph: Graph) -> set[float]:
    reached = (graph.nodes[index] for index in graph.reached())
    return {node.value for node in reached if node.operation == CONSTANT}
