"""Functions and rows in egglog's notation."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from itertools import product

from optforge.equality.facts import (
    ALWAYS_NONNEGATIVE,
    ALWAYS_POSITIVE,
    NONNEGATIVE_IF_ALL,
    NONNEGATIVE_IF_ANY,
    POSITIVE_IF_ALL,
)
from optforge.equality.gates import gates
from optforge.equality.patterns import (
    ALL_KINDS,
    INPUTS,
    LITERALS,
    VALUES,
    Pattern,
    read_pattern,
)
from optforge.equality.rewrite import Rewrite
from optforge.language import FUNCTIONS, Kind

KNOW, FOLD = "know", "fold"  # the rulesets of kinds and signs, and of computed constants
_LARGEST = "1e100"  # what a computed constant may be

_EGGLOG = {"add": "+", "subtract": "-", "multiply": "*", "ratio": "/", "abs": "abs"}
_EGGLOG |= {"minimum": "min", "maximum": "max"}
_COMPARISON = {ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">=", ast.NotEq: "!="}


def operation_name(function: str) -> str:
    """Return the egglog name of a function, which differs from all egglog keywords."""
    return f"f_{function}"


def preamble(functions: Iterable[str]) -> str:
    """Declare functions, kinds, values of constants, known signs, and how they are derived."""
    rows = [FUNCTIONS[name] for name in functions]
    lines = [
        "(sort Value)",
        "(constructor Constant (f64) Value)",
        "(constructor Input (String) Value)",
        "(sort Output)",
        "(constructor Root (i64 Value) Output)",
        f"(constructor Match ({' '.join(['Value'] * len(VALUES))}) Output)",
        "(function kind (Value) i64 :merge (min old new))",
        "(function number (Value) f64 :merge old)",
        "(relation nonnegative (Value))",
        "(relation positive (Value))",
        *(f'(set (kind (Input "{name}")) {int(kind)})' for name, kind in INPUTS.items()),
        *(f"(ruleset {name})" for name in (KNOW, FOLD)),
    ]
    for row in rows:
        arguments = " ".join(["Value"] * row.arity)
        lines.append(f"(constructor {operation_name(row.name)} ({arguments}) Value)")
    lines += _constants()
    for row in rows:
        lines += _kinds(row.name) + _folds(row.name) + _signs(row.name)
    return "\n".join(lines)


def _rule(conditions: Iterable[str], actions: Iterable[str], group: str, name: str = "") -> str:
    label = f' :name "{name}"' if name else ""
    return f"(rule ({' '.join(conditions)}) ({' '.join(actions)}) :ruleset {group}{label})"


def _constants() -> list[str]:
    """Declare the numbers of constants; numbers that differ only by rounding are one value."""
    near = "(< (abs (- p q)) (* 1e-13 (abs p)))"
    known = "(= e (Constant p))"
    return [
        _rule([known], ["(set (number e) p)", f"(set (kind e) {int(Kind.SCALAR)})"], KNOW),
        _rule([known, "(>= p 0.0)"], ["(nonnegative e)"], KNOW),
        _rule([known, "(> p 0.0)"], ["(positive e)"], KNOW),
        _rule(["(positive e)"], ["(nonnegative e)"], KNOW),
        _rule(["(= p (number e))", "(= q (number f))", "(!= p q)", near], ["(union e f)"], FOLD),
    ]


def _call(function: str) -> tuple[str, list[str]]:
    names = [f"e{number}" for number in range(FUNCTIONS[function].arity)]
    return f"({' '.join([operation_name(function), *names])})", names


def _kinds(function: str) -> list[str]:
    row = FUNCTIONS[function]
    call, names = _call(function)
    kind_facts = [f"(= k{number} (kind {name}))" for number, name in enumerate(names)]
    if row.form in ("product", "transpose"):
        return _shapes(function)
    if row.form in ("whole", "constant", "clock"):
        kind, kind_facts = str(int(Kind.SCALAR)), []
    elif row.form == "per_array":
        kind = f"(min k0 {int(Kind.ARRAY)})"
    else:
        kind = "k0"
        for number in range(1, len(names)):
            kind = f"(max {kind} k{number})"
    if row.form == "by_role":
        kind = f"(max {kind} {int(Kind.ARRAY)})"
    return [_rule([f"(= e {call})", *kind_facts], [f"(set (kind e) {kind})"], KNOW)]


def _shapes(function: str) -> list[str]:
    """Write the kinds of functions that convert one shape to another: one rule per choice."""
    row = FUNCTIONS[function]
    call, names = _call(function)
    rules = []
    for kinds in product(ALL_KINDS, repeat=row.arity):
        if row.allows(kinds):
            kind_facts = [
                f"(= {kind} (kind {name}))" for kind, name in zip(kinds, names, strict=True)
            ]
            rules.append(
                _rule([f"(= e {call})", *kind_facts], [f"(set (kind e) {row.result(kinds)})"], KNOW)
            )
    return rules


def _folds(function: str) -> list[str]:
    """Write the folds that egglog can compute; the others are done between the runs."""
    call, names = _call(function)
    number_facts = [f"(= n{number} (number {name}))" for number, name in enumerate(names)]
    if function in _EGGLOG:
        value = f"({_EGGLOG[function]} {' '.join(f'n{i}' for i in range(len(names)))})"
    elif function == "divide":
        value = "(/ n0 (+ n1 1e-8))"
    elif function == "square":
        value = "(* n0 n0)"
    else:
        return []
    conditions = [f"(= e {call})", *number_facts, _bounded(value)]
    # What was folded is deleted, or constants would be regrouped in all ways for ever.
    return [_rule(conditions, [f"(union e (Constant {value}))", f"(delete {call})"], FOLD)]


def _bounded(value: str) -> str:
    return f"(< (abs {value}) {_LARGEST})"


def _signs(function: str) -> list[str]:
    call, names = _call(function)
    call, rules = f"(= e {call})", []
    chosen = names[1:] if function == "where" else names  # its condition is no part of the result

    def add(sort: str, conditions: list[str]) -> None:
        rules.append(_rule([call, *conditions], [f"({sort} e)"], KNOW))

    if function in ALWAYS_NONNEGATIVE:
        add("nonnegative", [])
    elif function in NONNEGATIVE_IF_ALL:
        add("nonnegative", [f"(nonnegative {name})" for name in chosen])
    if function in NONNEGATIVE_IF_ANY:
        rules += [
            _rule([call, f"(nonnegative {name})"], ["(nonnegative e)"], KNOW) for name in names
        ]
    if function in ALWAYS_POSITIVE:
        add("positive", [])
    elif function in POSITIVE_IF_ALL:
        add("positive", [f"(positive {name})" for name in chosen])
    if function == "interp":
        inside = ["(= n (number e2))", "(>= n 0.0)", "(<= n 1.0)"]
        add("nonnegative", ["(nonnegative e0)", "(nonnegative e1)", *inside])
    if function == "add":
        add("positive", ["(positive e0)", "(nonnegative e1)"])
        add("positive", ["(positive e1)", "(nonnegative e0)"])
    return rules


def rule_text(rule: Rewrite, name: str, kinds: tuple[int, ...] = ALL_KINDS) -> str:
    """Translate a row to a ruleset, with one rule for each sound choice of kinds."""
    after = read_pattern(rule.after)
    pattern, conditions = _matched(rule)
    computed: list[str] = []
    actions = [f"(union whole {_built(after, computed)})"]
    if rule.collapses:  # what says nothing new is deleted, or 0 = x * 0 = y * (x * 0) = ... grows
        actions.append(f"(delete {pattern})")
    conditions += [_bounded(value) for value in computed]
    lines = [f"(ruleset {name})"]
    for number, gate in enumerate(gates(rule, kinds)):
        lines.append(_rule([*conditions, *gate], actions, name, f"{name}.{number}"))
    return "\n".join(lines)


def _matched(rule: Rewrite) -> tuple[str, list[str]]:
    """Write the query of a row: its pattern, and all conditions except those on kinds."""
    facts: list[str] = []
    pattern = _pattern(read_pattern(rule.before), facts)
    facts.append(f"(= whole {pattern})")
    return pattern, [*reversed(facts), *(_condition(text) for text in rule.when)]


def probe_text(rule: Rewrite, name: str, kinds: tuple[int, ...] = ALL_KINDS) -> str:
    """Translate a row to a ruleset that changes nothing and records where the row would apply."""
    _, conditions = _matched(rule)
    variables = [v for v in read_pattern(rule.before).variables if v not in LITERALS]
    note = f"(Match {' '.join((variables * len(VALUES))[: len(VALUES)])})"
    lines = [f"(ruleset {name})"]
    for number, gate in enumerate(gates(rule, kinds)):
        lines.append(_rule([*conditions, *gate], [note], name, f"{name}.{number}"))
    return "\n".join(lines)


def _pattern(pattern: Pattern, facts: list[str]) -> str:
    """Write a pattern; constants are matched by their number, which is added to the facts."""
    if pattern.value is not None:
        facts.append(f"(= {float(pattern.value)!r} (number c{len(facts)}))")
        return f"c{len(facts) - 1}"
    if pattern.operation in LITERALS:
        facts.append(f"(= {pattern.operation} (number c{len(facts)}))")
        return f"c{len(facts) - 1}"
    if not pattern.arguments:
        return f'(Input "{pattern.operation}")' if len(pattern.operation) > 1 else pattern.operation
    parts = [_pattern(argument, facts) for argument in pattern.arguments]
    return f"({' '.join([operation_name(pattern.operation), *parts])})"


def _built(pattern: Pattern, computed: list[str]) -> str:
    """Write a replacement; parts made only of constants are computed."""
    if pattern.is_literal and _computable(pattern):
        value = _computed(pattern)
        if pattern.arguments:
            computed.append(value)
        return f"(Constant {value})"
    if not pattern.arguments:
        return f'(Input "{pattern.operation}")' if len(pattern.operation) > 1 else pattern.operation
    parts = [_built(argument, computed) for argument in pattern.arguments]
    return f"({' '.join([operation_name(pattern.operation), *parts])})"


def _computable(pattern: Pattern) -> bool:
    known = pattern.operation in _EGGLOG or pattern.operation == "divide" or not pattern.arguments
    return known and all(_computable(argument) for argument in pattern.arguments)


def _computed(pattern: Pattern) -> str:
    if pattern.value is not None:
        return repr(float(pattern.value))
    if not pattern.arguments:
        return pattern.operation
    parts = [_computed(argument) for argument in pattern.arguments]
    if pattern.operation == "divide":
        return f"(/ {parts[0]} (+ {parts[1]} 1e-8))"
    return f"({_EGGLOG[pattern.operation]} {' '.join(parts)})"


def _condition(text: str) -> str:
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.Call):
        return f"({ast.unparse(node).replace('(', ' ', 1)}"
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
        return f"(= {_side(node.left)} {_side(node.comparators[0])})"
    if isinstance(node, ast.Compare):
        sign = _COMPARISON[type(node.ops[0])]
        return f"({sign} {_side(node.left)} {_side(node.comparators[0])})"
    raise ValueError(f"not a condition: {text}")  # a defect of the table


def _side(node: ast.expr) -> str:
    return _computed(read_pattern(ast.unparse(node)))
