"""Kinds: each rule, the fix-point over the states, and errors that name the statement."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given

from optforge.analysis import live_program, state_kinds, variable_kinds
from optforge.errors import ProgramError
from optforge.language import (
    FUNCTION_SETS,
    FUNCTIONS,
    Interpreter,
    Kind,
    Program,
    Statement,
    load_rule,
    parse,
)
from optforge.language.function import mixes
from tests.helpers.edits import LAYOUT, run
from tests.strategies import SHAPING, programs

S, A, T = Kind.SCALAR, Kind.ARRAY, Kind.TREE
# Values of each kind: a scalar, one per array, a tree.
OF_KIND = {S: "lr", A: "n", T: "g"}


def program(*lines: str, states: str = "", result: str = "u") -> Program:
    names = f"{states}, " if states else ""
    body = "".join(f"    {line}\n" for line in lines)
    outputs = f"{result}, {states}" if states else result
    return parse(f"def train(w, g, {names}lr):\n{body}    return {outputs}\n")


def result_kind(function: str, kinds: tuple[Kind, ...]) -> int:
    arguments = ", ".join(OF_KIND[kind] for kind in kinds)
    lines = ("n = norm(g)", f"x = {function}({arguments})", "u = g * lr")
    return variable_kinds(program(*lines))[-1]["x"]


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"matmul", "transpose"}))
def test_every_function_gives_the_kind_that_its_form_says(name: str) -> None:
    row = FUNCTIONS[name]
    for kinds in itertools.product((S, A, T), repeat=row.arity):
        if row.form == "controlled" and kinds[-1] != S:
            with pytest.raises(ProgramError, match="statement 2, .* a scalar is allowed"):
                result_kind(name, kinds)
            assert not row.allows(kinds)
            continue
        expected = {
            "constant": S,
            "clock": S,
            "whole": S,
            "per_array": S if kinds == (S,) else A,
            "elementwise": max(kinds, default=S),
            "lines": max(kinds, default=S),
            "matrix": max(kinds, default=S),
            "by_role": max(A, *kinds, A),
            "controlled": max(kinds, default=S),
        }[row.form]
        assert result_kind(name, kinds) == expected
        assert row.allows(kinds) and row.result(kinds) == expected


def test_the_papers_forms() -> None:
    rows = {name: FUNCTIONS[name] for name in FUNCTION_SETS["paper"]}
    forms = {name: row.form for name, row in rows.items() if row.form != "elementwise"}
    assert forms == {
        **dict.fromkeys(("get_pi", "get_e", "get_eps"), "constant"),
        **dict.fromkeys(("global_norm", "dot", "cosine_sim"), "whole"),
        **dict.fromkeys(("clip", "interp"), "controlled"),
        "norm": "per_array",
    }


def test_a_constant_is_a_scalar_everywhere() -> None:
    for name, row in FUNCTIONS.items():
        if row.form in ("product", "transpose", "by_role"):
            continue  # the first two take no scalar, the third gives one number for each array
        arguments = (0.5,) * row.arity
        one = Program(("w", "g", "lr"), (Statement("x", name, arguments),), ("g",))
        assert variable_kinds(one)[-1]["x"] == S


@pytest.mark.parametrize(
    ("line", "got"),
    [
        ("u = clip(g, w)", "element"),
        ("u = interp(g, w, g)", "element"),
        ("u = interp(g, w, n)", "array"),
        ("u = clip(n, n)", "array"),
    ],
)
def test_an_error_names_the_statement_what_it_got_and_what_is_allowed(line: str, got: str) -> None:
    wrong = program("n = norm(g)", line, "u = u + n")
    text = f"statement 2, '{line}': the last argument of .* is one value per {got}.*scalar is allow"
    with pytest.raises(ProgramError, match=re.escape(text).replace(r"\.\*", ".*")):
        state_kinds(wrong)
    with pytest.raises(ProgramError, match="statement 2"):
        variable_kinds(wrong)
    with pytest.raises(ProgramError, match="scalar"):
        Interpreter(wrong, (), LAYOUT)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("u = matmul(g, w)",), "statement 1, .*two trees, and the columns of the first must be"),
        (
            ("u = matmul(g, lr)",),
            "statement 1, .*one value per element.* and program; it takes two",
        ),
        (
            ("n = norm(g)", "u = transpose(n)"),
            "statement 2, .*one value per array; it takes a tree",
        ),
        (("u = transpose(0.5)",), "statement 1, .*one value per program; it takes a tree"),
        (("t = transpose(g)", "u = g + t"), "statement 2, .*different shapes.*see transpose"),
        (("t = transpose(g)", "u = where(g, 1.0, t)"), "statement 2, .*different shapes"),
        (("t = transpose(g)", "u = dot(g, t)"), "statement 2, .*different shapes"),
        (("u = transpose(g)",), "update 'u' is one value per element of transposed matrices"),
        (("t = transpose(g)", "u = matmul(g, t)"), "update 'u' is .* rows by rows; it must be a"),
        (("t = transpose(g)", "u = matmul(t, g)"), "update 'u' is .* columns by columns"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        state_kinds(program(*lines))
    with pytest.raises(ProgramError, match="shapes that do not fit|must be a tree"):
        Interpreter(program(*lines), (), LAYOUT)


def test_products_lead_from_shape_to_shape() -> None:
    lines = ("t = transpose(g)", "r = matmul(g, t)", "c = matmul(t, g)", "u = matmul(r, g)")
    more = ("x = matmul(c, t)", "y = matmul(t, r)", "z = matmul(r, r)", "q = transpose(c)")
    kinds = variable_kinds(program(*lines, *more))[-1]
    names = {
        **{"t": Kind.TRANSPOSED, "r": Kind.ROW_SQUARE, "c": Kind.COLUMN_SQUARE, "u": T},
        **{"x": Kind.TRANSPOSED, "y": Kind.TRANSPOSED, "z": Kind.ROW_SQUARE},
    }
    assert kinds == {**names, "q": Kind.COLUMN_SQUARE, "w": T, "g": T, "lr": S}


def test_a_state_may_have_another_shape_and_be_read_by_products_before_it_is_set() -> None:
    shampoo = program(
        *("x = matmul(s, g)", "t = transpose(g)", "c = matmul(g, t)", "s = interp(c, s, 0.9)"),
        *("q = matmul(t, s)", "u = transpose(q)", "u = u + x"),
        states="s",
    )
    assert state_kinds(shampoo) == (Kind.ROW_SQUARE,)
    assert run(shampoo).shape == (4, 2, LAYOUT.elements)


def test_a_state_keeps_its_shape() -> None:
    turning = "def train(w, g, m, lr):\n    m = m + g\n    t = transpose(m)\n    return g, t\n"
    with pytest.raises(ProgramError, match="statement 1, .*different shapes"):
        state_kinds(parse(turning))
    never_set = "def train(w, g, s, lr):\n    x = matmul(s, g)\n    return g, x\n"
    with pytest.raises(ProgramError, match="statement 1, .*one value per program and element"):
        state_kinds(parse(never_set))  # a product of a state that nothing but the product sets


def raw(*statements: Statement, update: str = "g") -> Program:
    return Program(("w", "g", "lr"), statements, (update,))


def test_programs_that_no_text_could_give_are_refused_too() -> None:
    first = Statement("x", "sign", ("g",))
    cases = [
        (raw(first, Statement("y", "sign", ("z",))), "statement 2, .*'z' is read before.*known"),
        (raw(Statement("y", "add", ("y", "g"))), "statement 1, .*'y' is read before"),
        (raw(first, Statement("y", "add", ("g",))), "statement 2, .*got 1 arguments; add takes 2"),
        (raw(Statement("y", "sign", ("g", "w"))), "statement 1, .*got 2 arguments; sign takes 1"),
        (raw(Statement("y", "system", ("g",))), "statement 1, .*unknown function 'system'; allow"),
        (raw(first, update="y"), "'y' is returned but never defined"),
    ]
    for wrong, message in cases:
        with pytest.raises(ProgramError, match=message):
            state_kinds(wrong)


@pytest.mark.parametrize(("value", "per"), [("dot(g, w)", "program"), ("norm(g)", "array")])
def test_the_update_must_be_a_tree(value: str, per: str) -> None:
    with pytest.raises(ProgramError, match=f"update 'u' is one value per {per}; it must be a tree"):
        state_kinds(program(f"u = {value}"))


def test_a_state_is_a_tree_where_it_holds_a_tree_and_a_scalar_where_it_need_not() -> None:
    assert state_kinds(load_rule("adamw_bias_correction")) == (T, T, S)
    assert state_kinds(load_rule("adamw")) == (T, T)
    assert state_kinds(program("c = c + 1.0", states="c", result="g")) == (S,)
    assert state_kinds(program("c = c + g", states="c", result="g")) == (T,)


def test_the_fix_point_climbs_through_chains_of_states() -> None:
    line = "x = a + 0.0", "y = b + 0.0", "z = c + g", "u = g * lr"
    chain = parse(
        "def train(w, g, a, b, c, lr):\n"
        + "".join(f"    {text}\n" for text in line)
        + "    return u, y, z, x\n"
    )
    # c takes a, b takes c + g, a takes b: all become trees, one after the other
    assert state_kinds(chain) == (T, T, T)


def test_a_state_of_array_norms_holds_one_value_per_array() -> None:
    rule = program("n = norm(g)", "s = interp(n, s, 0.9)", "u = g / s", states="s")
    assert state_kinds(rule) == (A,)
    assert run(rule).shape == (4, 2, LAYOUT.elements)


def test_a_state_that_grows_into_a_tree_may_not_control() -> None:
    wrong = program("u = interp(g, w, s)", "s = s + g", states="s")
    with pytest.raises(ProgramError, match="statement 1, 'u = interp"):
        state_kinds(wrong)
    right = program("u = interp(g, w, s)", "s = s + 0.1", states="s")
    assert state_kinds(right) == (S,)


@given(programs() | programs(SHAPING))
def test_random_programs_are_valid_and_values_have_the_widths_of_their_kinds(one: Program) -> None:
    kinds = state_kinds(one)
    before = variable_kinds(one)
    assert len(before) == len(one.statements) + 1
    assert before[-1][one.outputs[0]] == T
    for name, kind in zip(one.outputs[1:], kinds, strict=True):
        assert before[-1][name] <= kind and mixes((before[-1][name], kind))
    for number, statement in enumerate(one.statements):
        arguments = tuple(
            before[number][a] if isinstance(a, str) else S for a in statement.arguments
        )
        assert before[number + 1][statement.target] == FUNCTIONS[statement.function].result(
            arguments
        )
    assert run(one).shape == (4, 2, LAYOUT.elements)
    lean = live_program(one)  # dead code never decides what a live state holds
    kept = [kind for name, kind in zip(one.states, kinds, strict=True) if name in lean.states]
    assert list(state_kinds(lean)) == kept
