"""The e-graphs: one with a table for each selection of sets of functions."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

from optforge.equality.graph import Graph
from optforge.equality.table import table_text
from optforge.errors import SimplifyError
from optforge.language import FUNCTIONS

_PAPER = frozenset(("paper",))


_reused = True


@contextmanager
def fresh_engines() -> Iterator[None]:
    """Create a new e-graph for every use, which is slow but reliable.

    An e-graph of egglog 13 that was popped to an earlier level may assign a value another's
    argument in a later run. Every simplification is checked by running it; if a check fails, it is
    repeated inside this block.
    """
    global _reused
    _reused = False
    try:
        yield
    finally:
        _reused = True


@cache
def _loaded() -> tuple[Any, int]:
    """Load egglog's bindings when they are first used; return them and the id of this process."""
    return importlib.import_module("egglog.bindings"), os.getpid()


def _bindings() -> Any:
    """Return egglog's bindings, in the process that loaded them.

    They start a thread, which a forked process lacks: there the first run would wait forever.
    """
    bindings, process = _loaded()
    if os.getpid() != process:
        raise SimplifyError(
            "this process was forked after its parent had simplified a rule, and the threads of "
            "egglog, which simplifies, do not survive a fork; start it with "
            'multiprocessing.get_context("spawn"), or fork before anything is simplified'
        )
    return bindings


def engine_for(sets: frozenset[str]) -> Any:
    """Return an e-graph with the table for some sets; every run pushes and pops its own level.

    Raises:
        SimplifyError: In a process that was forked after egglog was loaded.
    """
    _bindings()
    return _kept(sets) if _reused else _made(sets)


def _made(sets: frozenset[str]) -> Any:
    engine = _bindings().EGraph()
    engine.run_program(*engine.parse_program(table_text(sets)))
    return engine


_kept = lru_cache(None)(_made)


def sets_used(graph: Graph) -> frozenset[str]:
    """Return the sets of functions that a graph needs."""
    used = (node.operation for node in graph.nodes if node.is_statement)
    return _PAPER.union(FUNCTIONS[name].belongs_to for name in used)


def run(engine: Any, text: str) -> list[Any]:
    """Run commands and return their output."""
    return engine.run_program(*_parsed(engine, text))


def holds(engine: Any, claim: str) -> bool:
    """Return whether a ``check`` succeeds."""
    try:
        run(engine, claim)
    except _bindings().EggSmolError:
        return False
    return True


@lru_cache(64)
def _parsed(engine: Any, text: str) -> list[Any]:
    """Parse commands for one e-graph, because parsing generates names that belong to it."""
    return engine.parse_program(text)
