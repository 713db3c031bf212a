"""Every row of the table holds over the real numbers: 60 digits, random values, kinds and edges.

The oracle is mpmath, with the meanings of the functions written out anew.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from itertools import product
from typing import Any

import mpmath
import pytest

from optforge.algebra import RULES, Rewrite
from optforge.algebra.patterns import LITERALS, SCALARS, Term, read_term, sound_kinds
from optforge.language import FUNCTIONS, Kind

mp = mpmath.mp.clone()
mp.dps = 60
EPSILON = mp.mpf("1e-8")
SIZES = (2, 1)  # a tree of two arrays
WIDTH = (1, 2, 3)
EDGES = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 1e-9, -1e-9, 1e-4, 30.0, -30.0)
CONSTANTS = (0.9, 0.1, 2.0, -1.5, 1.0, -1.0, 0.5, 0.0, 3.0, 1e-3, -0.25, 10.0, 1.1)
DRAWS = 12

Value = tuple[int, list[Any]]  # kind, elements


def real(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of real numbers; outside its domain the result is NaN."""

    def apply(*values: Any) -> Any:
        try:
            result = function(*values)
        except (ZeroDivisionError, ValueError, OverflowError):
            return mp.nan
        return result if not isinstance(result, mp.mpc) else mp.nan

    return apply


ELEMENTWISE = {
    **{name: getattr(mp, name) for name in ("cos", "sin", "tan", "exp", "sinh", "cosh", "tanh")},
    **{name: getattr(mp, name) for name in ("expm1", "sign")},
    **{"abs": abs, "negative": lambda x: -x, "square": lambda x: x * x, "cube": lambda x: x**3},
    **{"arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan, "arcsinh": mp.asinh},
    **{"arccosh": mp.acosh, "arctanh": mp.atanh, "reciprocal": lambda x: 1 / x},
    **{"log": lambda x: mp.log(abs(x)), "log2": lambda x: mp.log(abs(x), 2)},
    **{"log10": lambda x: mp.log10(abs(x)), "log1p": lambda x: mp.log(abs(1 + x))},
    **{"exp2": lambda x: mp.mpf(2) ** x, "exp10": lambda x: mp.mpf(10) ** x},
    **{"sqrt": lambda x: mp.sqrt(abs(x)), "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x))},
    **{"add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y},
    **{"divide": lambda x, y: x / (y + EPSILON), "power": lambda x, y: x**y},
    **{"maximum": max, "minimum": min, "interp": lambda x, y, a: (1 - a) * x + a * y},
    "ratio": lambda x, y: x / y,
}


def spread(value: Value, kind: int) -> list[Any]:
    own, elements = value
    if own == Kind.ARRAY and kind == Kind.TREE:
        return [e for e, size in zip(elements, SIZES, strict=True) for _ in range(size)]
    return elements * WIDTH[kind] if own == Kind.SCALAR else elements


def length(elements: list[Any]) -> Any:
    return mp.sqrt(sum((e * e for e in elements), mp.mpf(0)))


def whole(name: str, values: list[Value]) -> Value:
    kind = max(k for k, _ in values)
    rows = [spread(value, kind) for value in values]
    if name == "global_norm":
        return 0, [length(rows[0])]
    inner = sum((x * y for x, y in zip(*rows, strict=True)), mp.mpf(0))
    if name == "dot":
        return 0, [inner]
    norms = length(rows[0]) * length(rows[1])
    return 0, [inner / norms if norms else mp.mpf(0)]


def norm(value: Value) -> Value:
    kind, elements = value
    if kind != Kind.TREE:
        return kind, [abs(e) for e in elements]
    return 1, [length(elements[:2]), length(elements[2:])]


def clip(value: Value, limit: Value) -> Value:
    size = length(value[1])
    factor = min(mp.mpf(1), limit[1][0] / size) if size else mp.mpf(1)
    return value[0], [e * factor for e in value[1]]


def evaluate(term: Term, values: dict[str, Value]) -> Value:
    if term.value is not None:
        return 0, [mp.mpf(repr(term.value))]
    if not term.arguments:
        return values[term.operation]
    inner = [evaluate(argument, values) for argument in term.arguments]
    if any(mp.isnan(e) or mp.isinf(e) for _, row in inner for e in row):
        return int(Kind.SCALAR), [mp.nan]
    if term.operation in ("global_norm", "dot", "cosine_sim"):
        return whole(term.operation, inner)
    if term.operation == "norm":
        return norm(inner[0])
    if term.operation == "clip":
        return clip(inner[0], inner[1])
    kind = max(k for k, _ in inner)
    rows = [spread(value, kind) for value in inner]
    function = real(ELEMENTWISE[term.operation])
    return kind, [function(*row) for row in zip(*rows, strict=True)]


def holds(condition: str, values: dict[str, Value]) -> bool:
    node = ast.parse(condition, mode="eval").body
    if not isinstance(node, ast.Compare):
        return True  # of signs: the values were drawn so
    left, right = (
        evaluate(read_term(ast.unparse(side)), values)[1][0]
        for side in (node.left, node.comparators[0])
    )
    compare = {"Lt": left < right, "Gt": left > right, "LtE": left <= right, "GtE": left >= right}
    compare |= {"Eq": left == right, "NotEq": left != right}
    return compare[type(node.ops[0]).__name__]


def drawn(rule: Rewrite, kinds: dict[str, int], source: random.Random) -> dict[str, Value]:
    """Values of the right kinds and signs, often from the edges."""
    values: dict[str, Value] = {}
    for name, kind in kinds.items():
        row = [
            source.choice(EDGES)
            if source.random() < 0.4
            else source.gauss(0, source.choice((0.3, 3)))
            for _ in range(WIDTH[kind])
        ]
        if f"nonnegative({name})" in rule.when:
            row = [abs(e) for e in row]
        if f"positive({name})" in rule.when:
            row = [abs(e) + 0.01 for e in row]
        values[name] = kind, [mp.mpf(repr(e)) for e in row]
    return values


def constants(rule: Rewrite, source: random.Random) -> dict[str, Value]:
    for _ in range(200):
        a = mp.mpf(repr(source.choice(CONSTANTS)))
        b = 1 - a if source.random() < 0.3 else mp.mpf(repr(source.choice(CONSTANTS)))
        values: dict[str, Value] = {"a": (0, [a]), "b": (0, [b])}
        if all(
            holds(c, values) for c in rule.when if "x" not in c and "y" not in c and "(s" not in c
        ):
            return values
    raise AssertionError(f"no constants fit {rule.name}")


INPUTS: dict[str, Value] = {
    "zero_tree": (2, [mp.mpf(0)] * 3),
    "zero_array": (1, [mp.mpf(0)] * 2),
    "one_tree": (2, [mp.mpf(1)] * 3),
}


def all_kinds(rule: Rewrite) -> list[dict[str, int]]:
    found = sound_kinds(rule)
    if found is not None:
        return list(found)
    names = [n for n in read_term(rule.before).variables if n not in LITERALS]
    every = product(*[(0,) if n in SCALARS else (0, 1, 2) for n in names])
    return [dict(zip(names, kinds, strict=True)) for kinds in every]


def formed(term: Term, kinds: dict[str, int]) -> bool:
    from optforge.algebra.patterns import term_kind

    return term_kind(term, kinds) is not None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_row_holds_over_the_real_numbers(rule: Rewrite) -> None:
    before, after = read_term(rule.before), read_term(rule.after)
    source = random.Random(rule.name)
    compared = 0
    for kinds in all_kinds(rule):
        if not formed(before, kinds):
            continue
        for _ in range(DRAWS):
            values = INPUTS | drawn(rule, kinds, source) | constants(rule, source)
            one, other = evaluate(before, values), evaluate(after, values)
            if any(mp.isnan(e) or mp.isinf(e) for e in one[1]):
                continue
            assert one[0] == other[0], "the kinds differ"
            bound = [mp.mpf(0)]
            if rule.guard is not None:
                bound = evaluate(read_term(rule.guard), values)[1]
            bounds = bound * len(one[1]) if len(bound) == 1 else bound
            for x, y, allowed in zip(one[1], other[1], bounds, strict=True):
                if mp.isnan(allowed):
                    continue
                tolerance = mp.mpf(10) ** -30 * (1 + abs(x)) + allowed * (1 + mp.mpf(10) ** -6)
                assert abs(x - y) <= tolerance, (values, x, y, allowed)
                compared += 1
    assert compared, "no kinds and values fit the row"


def test_the_table_has_no_row_twice_and_names_known_functions() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)

    def operations(term: Term) -> set[str]:
        inner = set().union(*map(operations, term.arguments))
        return inner | ({term.operation} if term.arguments else set())

    for rule in RULES:
        used = operations(read_term(rule.before)) | operations(read_term(rule.after))
        assert used - {"ratio"} <= set(FUNCTIONS), rule.name


def test_a_wrong_row_is_noticed() -> None:
    with pytest.raises(AssertionError):
        test_a_row_holds_over_the_real_numbers(Rewrite("sqrt(square(x))", "x"))
    with pytest.raises(AssertionError):
        test_a_row_holds_over_the_real_numbers(Rewrite("global_norm(x * z)", "global_norm(x)"))
