"""The table and a graph in egglog's notation."""

from __future__ import annotations

from functools import lru_cache

from optforge.equality.graph import CONSTANT, LR, Graph, state_leaf
from optforge.equality.patterns import ALL_KINDS, PLAIN, sets_of
from optforge.equality.rules import RULES
from optforge.equality.translate import operation_name, preamble, probe_text, rule_text
from optforge.language.functions import functions_of


def ruleset(number: int) -> str:
    """Return the name of a row's ruleset."""
    return f"row{number}"


def probe(number: int) -> str:
    """Return the name of the ruleset that records where a row would apply."""
    return f"probe{number}"


@lru_cache(None)
def rows_for(sets: frozenset[str]) -> tuple[int, ...]:
    """Return the numbers of the rows that need only functions of some sets."""
    return tuple(number for number, row in enumerate(RULES) if sets_of(row) <= sets)


@lru_cache(None)
def table_text(sets: frozenset[str]) -> str:
    """Translate everything that does not depend on the program.

    Args:
        sets: Sets of functions. Unused sets are left out, because they cost time; so are the kinds
            of matrices if there are no products.
    """
    kinds = ALL_KINDS if "matrices" in sets else PLAIN
    lines = [preamble(functions_of(sets))]
    chosen = [(number, RULES[number]) for number in rows_for(sets)]
    lines += [rule_text(row, ruleset(number), kinds) for number, row in chosen]
    guarded = [(number, row) for number, row in chosen if row.guard is not None]
    lines += [probe_text(row, probe(number), kinds) for number, row in guarded]
    return "\n".join(lines)


def graph_text(graph: Graph, nonnegative_states: tuple[bool, ...]) -> str:
    """Write a graph: one definition per node, kinds and signs of the inputs, the outputs."""
    lines = []
    for index, node in enumerate(graph.nodes):
        if node.operation == CONSTANT:
            value = f"(Constant {float(node.value)!r})"
        elif node.is_statement:
            parts = [operation_name(node.operation), *(f"$n{a}" for a in node.arguments)]
            value = f"({' '.join(parts)})"
        else:
            value = f'(Input "{node.operation}")'
        lines.append(f"(let $n{index} {value})")
        if not node.is_statement and node.operation != CONSTANT:
            lines.append(f"(set (kind $n{index}) {graph.leaf_kind(node.operation)})")
            if _is_nonnegative(node.operation, nonnegative_states):
                lines.append(f"(nonnegative $n{index})")
    lines += [f"(Root {number} $n{index})" for number, index in enumerate(graph.outputs)]
    return "\n".join(lines)


def _is_nonnegative(operation: str, states: tuple[bool, ...]) -> bool:
    known = {state_leaf(number) for number, holds in enumerate(states) if holds}
    return operation == LR or operation in known
