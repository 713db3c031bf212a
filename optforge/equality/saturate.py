"""Equality saturation: all forms of a graph that the table can derive, within bounds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optforge.equality.engine import engine_for, holds, run, sets_used
from optforge.equality.facts import nonnegative_states
from optforge.equality.graph import CONSTANT, Graph
from optforge.equality.patterns import LITERALS, read_pattern
from optforge.equality.rules import RULES
from optforge.equality.table import graph_text, probe, rows_for, ruleset
from optforge.equality.translate import FOLD, KNOW

EXACT_REWRITES = tuple(number for number, row in enumerate(RULES) if row.guard is None)
ALL_REWRITES = tuple(range(len(RULES)))


@dataclass(frozen=True)
class Bounds:
    """Limits of saturation.

    Args:
        iterations: Number of rounds of all rows.
        rows: Number of rows of egglog's tables (e-nodes, kinds and signs); a round that exceeds it
            is undone, so that the result does not depend on the machine.
        seconds: Wall-clock limit, only a safety stop; the result reports if it was reached.
    """

    iterations: int = 5
    rows: int = 3_000
    seconds: float = 20.0


@dataclass(frozen=True)
class Choice:
    """A way of computing a class: a function of classes, an input or a constant."""

    operation: str
    arguments: tuple[int, ...] = ()
    value: float = 0.0


@dataclass(frozen=True)
class Saturated:
    """Result of a saturation.

    Args:
        classes: Ways of computing each class of equal values.
        outputs: The classes of the update and the next states.
        fired: Numbers of the rows that matched anywhere.
        iterations: Number of rounds that were run.
        rows: Number of rows of egglog's tables at the end.
        stopped: ``saturated``, ``iterations``, ``size`` or ``time``.
    """

    classes: tuple[tuple[Choice, ...], ...]
    outputs: tuple[int, ...]
    fired: tuple[int, ...]
    iterations: int
    rows: int
    stopped: str


def saturate(
    graph: Graph,
    rows: Sequence[int] = EXACT_REWRITES,
    bounds: Bounds | None = None,
    known_signs: bool = True,
) -> Saturated:
    """Apply rows of the table to a graph until nothing new is derived or a bound is reached.

    Args:
        graph: One step of a rule.
        rows: Numbers of the rows that may be used.
        bounds: Bounds of the saturation.
        known_signs: Whether to first determine which states are never below zero. This requires
            that the outputs are the update and all next states; otherwise they may be any values.

    Example:
        >>> from optforge.equality.graph import to_graph
        >>> from optforge.language import load_rule
        >>> found = saturate(to_graph(load_rule("signum")))
        >>> len(found.outputs), len(found.classes) > 5
        (2, True)
    """
    signs = nonnegative_states(graph) if known_signs else (False,) * len(graph.kinds)
    with _loaded(graph, signs, rows) as engine:
        return _rounds(engine, bounds or Bounds())[0]


def matches(
    graph: Graph, rows: Sequence[int], row: int, bounds: Bounds | None = None
) -> tuple[tuple[tuple[Choice, ...], ...], list[dict[str, int]]]:
    """Return where a row with a guard would apply once other rows have been applied.

    Returns:
        Classes of equal values, and the class of each variable of the row at each place.
    """
    with _loaded(graph, nonnegative_states(graph), rows) as engine:
        saturated, places = _rounds(engine, bounds or Bounds(), row)
    return saturated.classes, places


def proves(
    form: Graph, other: Graph, rows: Sequence[int] = EXACT_REWRITES, bounds: Bounds | None = None
) -> bool:
    """Return whether rows suffice to prove, within bounds, that two forms of a step are equal.

    Args:
        form: One form.
        other: Another form with the same states.
        rows: Numbers of the rows that may be used, in either form.
        bounds: Bounds of the saturation, which ends as soon as the forms are equal.

    Example:
        >>> from optforge.equality.graph import to_graph
        >>> from optforge.language import parse
        >>> texts = ("u = sqrt(square(g))", "u = abs(g)")
        >>> one, other = (parse(f"def train(w, g, lr):\\n    {t}\\n    return u\\n") for t in texts)
        >>> proves(to_graph(one), to_graph(other)), proves(to_graph(one), to_graph(other), ())
        (True, False)
    """
    both = Graph(form.kinds)
    first, second = form.copy_into(both), other.copy_into(both)
    ends = [(first[a], second[b]) for a, b in zip(form.outputs, other.outputs, strict=True)]
    both.outputs = tuple(place for pair in ends for place in pair)
    claim = f"(check {' '.join(f'(= $n{a} $n{b})' for a, b in ends)})"
    with _loaded(both, nonnegative_states(form), rows) as engine:
        return _meets(engine, claim, bounds or Bounds())


def _meets(engine: Any, claim: str, bounds: Bounds) -> bool:
    end, size = time.monotonic() + bounds.seconds, -1
    for _ in range(bounds.iterations):
        if holds(engine, claim):
            return True
        grown, _ = _round(engine, bounds.rows)
        if grown > bounds.rows or grown == size or time.monotonic() > end:
            break
        size = grown
    return holds(engine, claim)


@contextmanager
def _loaded(graph: Graph, signs: tuple[bool, ...], rows: Sequence[int]) -> Iterator[Any]:
    """Yield an e-graph that holds a graph, and rulesets of some rows, until the block ends."""
    sets = sets_used(graph)
    engine = engine_for(sets)
    run(engine, "(push 1)")
    try:
        run(engine, graph_text(graph, signs))
        run(engine, _combined(rows, sets))
        yield engine
    finally:
        run(engine, "(pop 1)")


def _combined(rows: Sequence[int], sets: frozenset[str]) -> str:
    known = frozenset(rows_for(sets))
    rows = [number for number in rows if number in known]
    grow = [ruleset(number) for number in rows if RULES[number].grows]
    shrink = [ruleset(number) for number in rows if not RULES[number].grows]
    return (
        f"(unstable-combined-ruleset shrink {' '.join([FOLD, *shrink])})"
        f"(unstable-combined-ruleset grow {' '.join([FOLD, *grow])})"
    )


# A round in small steps, so that one which grows beyond all bounds is noticed early.
_STEPS = tuple(
    f"(run-schedule {steps}) (print-size)"
    for steps in (f"(saturate (run {KNOW})) (run shrink)", f"(saturate (run {KNOW})) (run shrink)")
    + (f"(run grow) (saturate (run {KNOW}))",)
)


def _rounds(
    engine: Any, bounds: Bounds, probed: int | None = None
) -> tuple[Saturated, list[dict[str, int]]]:
    end = time.monotonic() + bounds.seconds
    fired: set[int] = set()
    size, stopped, levels = 0, "iterations", 0
    try:
        for _ in range(bounds.iterations):
            run(engine, "(push 1)")
            levels += 1
            grown, matched = _round(engine, bounds.rows)
            if grown > bounds.rows and levels > 1:
                run(engine, "(pop 1)")
                levels -= 1
                stopped = "size"
                break
            fired |= matched
            size, before = grown, size
            if size == before or time.monotonic() > end:
                stopped = "saturated" if size == before else "time"
                break
        if probed is not None:
            run(engine, f"(run {probe(probed)} 1)")
        classes, outputs, noted = _read(engine)
        saturated = Saturated(classes, outputs, tuple(sorted(fired)), levels, size, stopped)
        return saturated, [] if probed is None else _places(probed, noted)
    finally:
        if levels:
            run(engine, f"(pop {levels})")


def _round(engine: Any, most: int) -> tuple[int, set[int]]:
    """Run one round; return its final size and the rows that matched."""
    fired: set[int] = set()
    size = 0
    for step in _STEPS:
        report, sizes = run(engine, step)
        fired |= _fired(report.report.num_matches_per_rule)
        size = sum(count for _, count in sizes.sizes)
        if size > most:
            break
    return size, fired


def _fired(matches: dict[str, int]) -> set[int]:
    names = [name for name, count in matches.items() if count and name.startswith("row")]
    return {int(name.removeprefix("row").partition(".")[0]) for name in names}


def _places(row: int, noted: list[tuple[int, ...]]) -> list[dict[str, int]]:
    names = [v for v in read_pattern(RULES[row].before).variables if v not in LITERALS]
    return [dict(zip(names, classes, strict=False)) for classes in noted]


def _read(
    engine: Any,
) -> tuple[tuple[tuple[Choice, ...], ...], tuple[int, ...], list[tuple[int, ...]]]:
    """Read from egglog all classes of values, the outputs, and the notes of a probe."""
    stored = json.loads(engine.serialize([]).to_json())["nodes"]
    number_of: dict[str, int] = {}
    choices: list[list[Choice]] = []
    roots: dict[int, str] = {}
    noted: list[tuple[int, ...]] = []

    def number(name: str) -> int:
        if name not in number_of:
            number_of[name] = len(choices)
            choices.append([])
        return number_of[name]

    for node in stored.values():
        operation, children = node["op"], [stored[child] for child in node["children"]]
        if operation == "Root":
            roots[int(children[0]["op"])] = children[1]["eclass"]
        elif operation == "Match":
            noted.append(tuple(number(child["eclass"]) for child in children))
        elif operation == "Constant":
            value = float(children[0]["op"])
            choices[number(node["eclass"])].append(Choice(CONSTANT, (), value))
        elif operation == "Input":
            choices[number(node["eclass"])].append(Choice(json.loads(children[0]["op"])))
        elif operation.startswith("f_"):
            arguments = tuple(number(child["eclass"]) for child in children)
            here = number(node["eclass"])
            choices[here].append(Choice(operation.removeprefix("f_"), arguments))
    outputs = tuple(number(roots[place]) for place in sorted(roots))
    return tuple(map(tuple, choices)), outputs, sorted(noted)
