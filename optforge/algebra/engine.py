"""The e-graphs: one with a table for each choice of sets of functions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from egglog import bindings

from optforge.algebra.graph import Graph
from optforge.algebra.table import table_text
from optforge.language import FUNCTIONS

_PAPER = frozenset(("paper",))


@lru_cache(None)
def engine_for(sets: frozenset[str]) -> Any:
    """One e-graph with a table, declared once; every run pushes and pops its own level."""
    engine = bindings.EGraph()
    engine.run_program(*engine.parse_program(table_text(sets)))
    return engine


def sets_used(graph: Graph) -> frozenset[str]:
    """Return the sets of functions that a graph needs."""
    used = (node.operation for node in graph.nodes if node.is_statement)
    return _PAPER.union(FUNCTIONS[name].belongs_to for name in used)


def run(engine: Any, text: str) -> list[Any]:
    """Run commands and return what they report."""
    return engine.run_program(*_parsed(text))


@lru_cache(64)
def _parsed(text: str) -> list[Any]:
    """Read commands, which do not depend on the e-graph that they are given to."""
    return engine_for(_PAPER).parse_program(text)
