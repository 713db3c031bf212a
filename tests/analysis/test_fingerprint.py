"""The functional fingerprint: blind for form, sharp for what is computed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.analysis import (
    fingerprint,
    lift,
    live_program,
    liveness,
    numeric_fingerprint,
    probe_updates,
    state_kinds,
)
from optforge.language import FUNCTIONS, Program, Statement, load_rule, parse, rule_names
from tests.helpers import paper_fingerprints
from tests.helpers.edits import SAME, mutated, run, same_updates
from tests.strategies import PAPER, programs, random_program, seeds

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("edit", SAME, ids=lambda edit: edit.__name__)
@given(program=programs(), seed=seeds())
def test_an_edit_of_the_form_alone_changes_nothing(edit, program: Program, seed: int) -> None:  # noqa: ANN001
    other = edit(program, random.Random(seed))
    assert fingerprint(other) == fingerprint(program)
    assert same_updates(program, other)
    # what is live is counted alike: the form does not matter there either
    assert liveness(other).across.bit_count() == liveness(program).across.bit_count()
    mine, others = (numeric_fingerprint(probe_updates(live_program(p))) for p in (program, other))
    assert mine == others


@pytest.mark.parametrize("name", rule_names())
def test_all_edits_one_after_the_other_leave_a_shipped_rule_known(name: str) -> None:
    rule = load_rule(name)
    for seed in range(5):
        source, other = random.Random(seed), rule
        for edit in source.sample(SAME, len(SAME)):
            other = edit(other, source)
        assert fingerprint(other) == fingerprint(rule)


@pytest.mark.parametrize("name", sorted(paper_fingerprints.SHIPPED))
def test_rules_of_the_papers_set_keep_their_fingerprints(name: str) -> None:
    rule = load_rule(name)
    numeric = numeric_fingerprint(probe_updates(live_program(rule)))
    assert (fingerprint(rule), numeric) == paper_fingerprints.SHIPPED[name]


def test_random_programs_of_the_papers_set_are_analysed_as_ever() -> None:
    source, digest = random.Random(10), blake2b(digest_size=8)
    for _ in range(300):
        one = random_program(source, PAPER)
        text = f"{one.text}{fingerprint(one)}{state_kinds(one)}{lift(one).values}"
        digest.update(text.encode())
    assert digest.hexdigest() == paper_fingerprints.RANDOM


def test_shipped_rules_are_told_apart_except_adamw_and_program_3() -> None:
    names = defaultdict(set)
    for name in rule_names():
        names[fingerprint(load_rule(name))].add(name)
    assert {"adamw", "program_3"} in names.values()
    assert len(names) == len(rule_names()) - 1


@given(programs(), seeds())
def test_equal_fingerprints_mean_equal_computation(program: Program, seed: int) -> None:
    """Families of mutants, form edits among them: all with one fingerprint compute the same."""
    source, groups = random.Random(seed), defaultdict(list)
    family = [program]
    for _ in range(12):
        parent = source.choice(family)
        family.append(source.choice((mutated, mutated, *SAME))(parent, source))
    for member in family:
        groups[fingerprint(member)].append(member)
    for first, *others in groups.values():
        for other in others:
            assert same_updates(first, other), f"{first}\n{other}"


def test_mutants_of_small_programs_collide_only_when_they_compute_the_same() -> None:
    source, groups, pairs = random.Random(0), defaultdict(list), 0
    start = parse("def train(w, g, m, v, lr):\n    m = m + g\n    v = m * v\n    return v, m, v\n")
    for _ in range(400):
        child = start
        for _ in range(source.randint(1, 4)):
            child = mutated(child, source)
        groups[fingerprint(child)].append(child)
    for first, *others in groups.values():
        different = {other.text: other for other in others if other != first}
        for other in list(different.values())[:5]:
            pairs += 1
            assert same_updates(first, other), f"{first}\n{other}"
    assert pairs > 20  # or nothing was tested


def test_functional_and_numeric_fingerprints_agree() -> None:
    """Equal functional prints always have equal numeric ones; the converse fails only rarely."""
    source, numeric, functional = random.Random(3), defaultdict(set), defaultdict(set)
    for _ in range(300):
        program = random_program(source)
        mine, other = (
            fingerprint(program),
            numeric_fingerprint(probe_updates(live_program(program))),
        )
        numeric[mine].add(other)
        functional[other].add(mine)
    assert all(len(prints) == 1 for prints in numeric.values())
    assert len(numeric) > 50


def with_constant(program: Program, number: int, place: int, value: float) -> Program:
    statements = list(program.statements)
    arguments = list(statements[number].arguments)
    arguments[place] = value
    statements[number] = replace(statements[number], arguments=tuple(arguments))
    return replace(program, statements=tuple(statements))


@pytest.mark.parametrize("name", rule_names())
def test_a_live_constant_counts_to_its_sixth_digit(name: str) -> None:
    program, changed = load_rule(name), 0
    live = liveness(program).across
    for number, statement in enumerate(program.statements):
        for place, value in enumerate(statement.arguments):
            if isinstance(value, float) and live >> number & 1:
                sixth = with_constant(program, number, place, value * 1.00001)
                ninth = with_constant(program, number, place, value * 1.00000001)
                signed = with_constant(program, number, place, -value)
                assert value == 0 or fingerprint(sixth) != fingerprint(program)
                assert fingerprint(signed) != fingerprint(program)
                assert f"{value * 1.00000001:.6g}" != f"{value:.6g}" or (
                    fingerprint(ninth) == fingerprint(program)
                )
                changed += 1
    assert changed or name == "none"


@pytest.mark.parametrize("name", rule_names())
def test_a_live_function_counts(name: str) -> None:
    program = load_rule(name)
    live = liveness(program).across
    for number, statement in enumerate(program.statements):
        row = FUNCTIONS[statement.function]
        for other in FUNCTIONS.values():
            if (other.form, other.arity) == (row.form, row.arity) and other != row:
                statements = list(program.statements)
                statements[number] = replace(statement, function=other.name)
                child = replace(program, statements=tuple(statements))
                differs = fingerprint(child) != fingerprint(program)
                assert differs == bool(live >> number & 1), child.text


def prints(*lines: str, states: str = "m, v") -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return fingerprint(parse(f"def train(w, g, {states}, lr):\n{body}    return u, {states}\n"))


def test_argument_order_counts_where_functions_do_not_commute() -> None:
    assert prints("u = g - w") != prints("u = w - g")
    assert prints("u = g / w") != prints("u = w / g")
    assert prints("u = g ** w") != prints("u = w ** g")
    assert prints("u = interp(g, w, 0.5)") != prints("u = interp(w, g, 0.5)")
    for commutative in ("g + w|w + g", "g * w|w * g", "min(g, w)|min(w, g)", "max(g, w)|max(w, g)"):
        left, right = commutative.split("|")
        assert prints(f"u = {left}") == prints(f"u = {right}")
    assert prints("u = g * dot(g, w)") == prints("u = g * dot(w, g)")
    assert prints("u = g * cosine_sim(g, w)") == prints("u = g * cosine_sim(w, g)")


def test_inputs_are_told_apart() -> None:
    assert len({prints(f"u = g * {name}") for name in ("w", "g", "lr", "1.0", "get_e()")}) == 5
    assert prints("u = g * 0.0") != prints("u = g * -0.0")  # the signs of 1 / 0 differ


def test_states_are_told_apart_by_what_they_become() -> None:
    one = prints("m = interp(g, m, 0.9)", "v = interp(g, v, 0.8)", "u = m / v")
    exchanged = prints("v = interp(g, v, 0.9)", "m = interp(g, m, 0.8)", "u = v / m")
    different = prints("m = interp(g, m, 0.9)", "v = interp(g, v, 0.8)", "u = v / m")
    assert one == exchanged != different


def test_a_value_of_the_step_before_is_not_the_same_value_of_this_step() -> None:
    """Both are (w + g) g, but the first adds the gradient of this step to the weights before."""
    late = parse("def train(w, g, s, lr):\n    x = s + g\n    u = x * g\n    return u, w\n")
    early = parse("def train(w, g, s, lr):\n    x = w + g\n    u = s * g\n    return u, x\n")
    assert not same_updates(late, early)
    assert fingerprint(late) != fingerprint(early)


def test_chains_of_states_are_followed_to_their_end() -> None:
    """A delay of up to four steps: what enters the last state shows only four steps later."""
    start = "a = b + 0.0 * a", "b = c + 0.0 * b", "c = d + 0.0 * c"
    one = prints(*start, "d = g * 2.0", "u = a * w", states="a, b, c, d")
    two = prints(*start, "d = g * 3.0", "u = a * w", states="a, b, c, d")
    assert one != two


def test_a_delayed_difference_of_two_states_that_change_places_is_seen() -> None:
    line = "u = a * w"
    texts = [("x = b * 1.0", "b = a * 1.0"), ("x = b * 1.0", "b = a * 2.0")]
    prints_ = set()
    for first, second in texts:
        text = (
            f"def train(w, g, a, b, lr):\n    {line}\n    {first}\n    {second}\n    return u, x, b"
        )
        prints_.add(fingerprint(parse(text)))
    assert len(prints_) == 2


def test_the_number_of_programs_met_before_does_not_matter() -> None:
    rules = [load_rule(name) for name in rule_names()]
    first = [fingerprint(rule) for rule in rules]
    source = random.Random(1)
    for _ in range(200):
        fingerprint(random_program(source))
    assert [fingerprint(rule) for rule in reversed(rules)] == first[::-1]


@given(st.just(None), programs())
def test_liveness_that_is_known_already_may_be_handed_over(_: None, program: Program) -> None:
    assert fingerprint(program, liveness(program)) == fingerprint(program)


@pytest.mark.parametrize("seed", [pytest.param("0", marks=pytest.mark.slow), "12345"])
def test_fingerprints_are_the_same_in_every_process(seed: str) -> None:
    code = (
        "import random\n"
        "from optforge.analysis import *\n"
        "from tests.strategies import random_program\n"
        "source = random.Random(5)\n"
        "for _ in range(20):\n"
        "    p = random_program(source)\n"
        "    print(fingerprint(p), numeric_fingerprint(probe_updates(live_program(p))))\n"
    )
    source = random.Random(5)
    mine = [random_program(source) for _ in range(20)]
    expected = [
        f"{fingerprint(p)} {numeric_fingerprint(probe_updates(live_program(p)))}" for p in mine
    ]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert done.stdout.decode().split("\n")[:-1] == expected
    assert all(len(line) == 33 and int(line[:16], 16) >= 0 for line in expected)


def test_dead_code_does_not_hide_behind_a_name() -> None:
    """A dead statement that writes a name which is read later after another write."""
    text = "def train(w, g, m, lr):\n    x = sin(w)\n    x = g * 2.0\n    return x, m\n"
    short = "def train(w, g, lr):\n    x = g * 2.0\n    return x\n"
    assert fingerprint(parse(text)) == fingerprint(parse(short))
    assert (run(parse(text)) == run(parse(short))).all()


def test_a_statement_of_the_table_alone_decides() -> None:
    one = Program(("w", "g", "lr"), (Statement("u", "multiply", ("g", 0.25)),), ("u",))
    assert fingerprint(one) == fingerprint(parse(one.text))
