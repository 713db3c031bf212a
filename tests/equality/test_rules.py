"""Every row of the table holds over the real numbers: 60 digits, random values, kinds and edges.

The oracle is mpmath, with the meanings of the functions written out anew in
:mod:`tests.equality.reals`.
"""

from __future__ import annotations

import ast
import random
from itertools import product

import pytest

from optforge.equality import RULES, Rewrite
from optforge.equality.gates import gates
from optforge.equality.patterns import (
    ALL_KINDS,
    ARRAYS,
    LITERALS,
    PLAIN,
    SCALARS,
    Pattern,
    pattern_kind,
    read_pattern,
    sets_of,
    sound_kinds,
)
from optforge.language import FUNCTIONS, Kind
from tests.equality.reals import MIXED, SMALL, Arrays, Value, evaluate, mp

EDGES = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 1e-9, -1e-9, 1e-4, 30.0, -30.0)
CONSTANTS = (0.9, 0.1, 2.0, -1.5, 1.0, -1.0, 0.5, 0.0, 3.0, 1e-3, -0.25, 10.0, 1.1)
DRAWS = 12


def holds(condition: str, values: dict[str, Value]) -> bool:
    node = ast.parse(condition, mode="eval").body
    if not isinstance(node, ast.Compare):
        return True  # of signs: the values were drawn so
    left, right = (
        evaluate(SMALL, read_pattern(ast.unparse(side)), values)[1][0]
        for side in (node.left, node.comparators[0])
    )
    compare = {"Lt": left < right, "Gt": left > right, "LtE": left <= right, "GtE": left >= right}
    compare |= {"Eq": left == right, "NotEq": left != right}
    return compare[type(node.ops[0]).__name__]


def drawn(
    rule: Rewrite, arrays: Arrays, kinds: dict[str, int], source: random.Random
) -> dict[str, Value]:
    """Values of the right kinds and signs, often from the edges."""
    values: dict[str, Value] = {}
    for name, kind in kinds.items():
        row = [
            source.choice(EDGES)
            if source.random() < 0.4
            else source.gauss(0, source.choice((0.3, 3)))
            for _ in range(arrays.width(kind))
        ]
        if f"nonnegative({name})" in rule.when:
            row = [abs(e) for e in row]
        if f"positive({name})" in rule.when:
            row = [abs(e) + 0.01 for e in row]
        values[name] = kind, [mp.mpf(repr(e)) for e in row]
    return values


def variables(condition: str) -> set[str]:
    nodes = ast.walk(ast.parse(condition))
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def constants(rule: Rewrite, source: random.Random) -> dict[str, Value]:
    for _ in range(200):
        a = mp.mpf(repr(source.choice(CONSTANTS)))
        b = 1 - a if source.random() < 0.3 else mp.mpf(repr(source.choice(CONSTANTS)))
        values: dict[str, Value] = {"a": (0, [a]), "b": (0, [b])}
        if all(holds(c, values) for c in rule.when if not set("xysn") & variables(c)):
            return values
    raise AssertionError(f"no constants fit {rule.name}")


def inputs(arrays: Arrays) -> dict[str, Value]:
    size = arrays.width(Kind.TREE)
    return {
        "zero_tree": (2, [mp.mpf(0)] * size),
        "zero_array": (1, [mp.mpf(0)] * arrays.width(Kind.ARRAY)),
        "one_tree": (2, [mp.mpf(1)] * size),
    }


def formed_kinds(rule: Rewrite, kinds: tuple[int, ...]) -> list[dict[str, int]]:
    """All kinds of the variables that ``before`` accepts."""
    before = read_pattern(rule.before)
    names = [n for n in before.variables if n not in LITERALS]
    fixed = {**dict.fromkeys(SCALARS, (0,)), **dict.fromkeys(ARRAYS, (0, 1))}
    every = product(*[fixed.get(name, kinds) for name in names])
    found = [dict(zip(names, chosen, strict=True)) for chosen in every]
    return [chosen for chosen in found if pattern_kind(before, chosen) is not None]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_row_holds_over_the_real_numbers(rule: Rewrite) -> None:
    before, after = read_pattern(rule.before), read_pattern(rule.after)
    source = random.Random(rule.name)
    of_paper = sets_of(rule) == {"paper"}
    arrays, kinds_of = (SMALL, PLAIN) if of_paper else (MIXED, ALL_KINDS)
    sound = sound_kinds(rule, kinds_of)
    every = formed_kinds(rule, kinds_of) if sound is None else list(sound)
    draws = DRAWS if of_paper else max(2, DRAWS // len(every))
    compared = 0
    for kinds in every:
        for _ in range(draws):
            values = inputs(arrays) | drawn(rule, arrays, kinds, source) | constants(rule, source)
            one, other = evaluate(arrays, before, values), evaluate(arrays, after, values)
            if any(mp.isnan(e) or mp.isinf(e) for e in one[1]):
                continue
            assert one[0] == other[0], "the kinds differ"
            bound = [mp.mpf(0)]
            if rule.guard is not None:
                bound = evaluate(arrays, read_pattern(rule.guard), values)[1]
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

    def operations(pattern: Pattern) -> set[str]:
        inner = set().union(*map(operations, pattern.arguments))
        return inner | ({pattern.operation} if pattern.arguments else set())

    for rule in RULES:
        used = operations(read_pattern(rule.before)) | operations(read_pattern(rule.after))
        assert used - {"ratio"} <= set(FUNCTIONS), rule.name


def test_a_wrong_row_is_noticed() -> None:
    with pytest.raises(AssertionError):
        test_a_row_holds_over_the_real_numbers(Rewrite("sqrt(square(x))", "x"))
    with pytest.raises(AssertionError):
        test_a_row_holds_over_the_real_numbers(Rewrite("global_norm(x * z)", "global_norm(x)"))


WRONG = (
    ("orthogonalize(orthogonalize(x))", "orthogonalize(x)"),
    ("row_mean(transpose(x))", "transpose(column_mean(x))"),
    ("matmul(x, y)", "matmul(y, x)"),
    ("norm(row_norm(x))", "norm(x)"),
    ("where_matrix(x, y)", "y"),
    ("where(negative(x), y, z)", "where(x, z, y)"),
)


@pytest.mark.parametrize(("before", "after"), WRONG)
def test_a_wrong_row_about_arrays_is_noticed(before: str, after: str) -> None:
    with pytest.raises(AssertionError):
        test_a_row_holds_over_the_real_numbers(Rewrite(before, after))


def meets(conditions: list[str], kinds: dict[str, int]) -> bool:
    """Read what egglog is asked, as it would."""
    for text in conditions:
        words = text.replace("(", " ").replace(")", " ").split()
        if "kind" in words and words[1].startswith("k"):
            continue  # gives a kind a name
        values = [
            kinds[w.removeprefix("k")] if w.removeprefix("k") in kinds else int(w)
            for w in words[1:]
            if w not in ("min", "kind")
        ]
        if "min" in words:
            values = [min(values[:2]), values[2]]
        holds = {"=": values[0] == values[1], "<=": values[0] <= values[1]}
        holds |= {">=": values[0] >= values[1]}
        if not holds[words[0]]:
            return False
    return True


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("kinds", [PLAIN, ALL_KINDS], ids=["plain", "all"])
def test_gates_let_sound_kinds_through_and_no_others(rule: Rewrite, kinds: tuple[int, ...]) -> None:
    sound = sound_kinds(rule, kinds)
    before = read_pattern(rule.before)
    names = [name for name in before.variables if name not in LITERALS]
    for combination in product(kinds, repeat=len(names)):
        chosen = dict(zip(names, combination, strict=True))
        if pattern_kind(before, chosen) is not None:
            allowed = any(meets(conditions, chosen) for conditions in gates(rule, kinds))
            assert allowed == (sound is None or chosen in sound)


def test_no_row_leads_to_a_set_of_functions_that_it_does_not_begin_with() -> None:
    for rule in RULES:
        used = {FUNCTIONS[name].belongs_to for name in read_pattern(rule.before).functions}
        assert sets_of(rule) <= used | {"paper"}, rule.name
