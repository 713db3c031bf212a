"""Which statements and states can matter, and that dropping the others changes nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given

from optforge.analysis import live_program, liveness, reads_gradient, state_kinds
from optforge.language import Program, load_rule, parse, rule_names
from tests.helpers.edits import run, same_updates
from tests.strategies import programs, random_program


def live_names(program: Program) -> tuple[str, ...]:
    states = liveness(program).states
    return tuple(name for i, name in enumerate(program.states) if states >> i & 1)


def test_known_answers_of_program_8() -> None:
    program = load_rule("program_8")
    live = liveness(program)
    assert len(program.statements) == 21
    assert live.within.bit_count() == 13
    assert live.across.bit_count() == 12
    assert live_names(program) == ("v",)
    lean = live_program(program)
    assert lean.states == ("v",) and lean.outputs == ("update", "v")
    dead = [s.text for i, s in enumerate(program.statements) if not live.across >> i & 1]
    names = " ".join(text.split(" = ")[0] for text in dead)
    assert names == "m v845 v968 v968 v845 v1 m lr lr"
    only_within = live.within & ~live.across
    assert [s.text for i, s in enumerate(program.statements) if only_within >> i & 1] == [
        "m = cosh(update)"
    ]


@pytest.mark.parametrize("name", rule_names())
def test_all_of_the_other_shipped_rules_is_live(name: str) -> None:
    program = load_rule(name)
    count = {"program_8": 12, "program_4": 11}.get(name, len(program.statements))
    assert liveness(program).across.bit_count() == count
    assert len(live_program(program).states) == len(program.states) - (
        name in "program_4 program_8"
    )


@given(programs())
def test_dropping_what_is_dead_changes_no_update(program: Program) -> None:
    lean = live_program(program)
    assert same_updates(program, lean)
    assert live_program(lean) == lean
    live = liveness(program)
    assert live.across & ~live.within == 0  # live across steps is live within a step
    assert len(lean.statements) == live.across.bit_count()
    assert live_program(program, live) == lean


def test_every_live_statement_is_needed_to_run_the_rest() -> None:
    """What is called live is read: its name reaches an output or another live statement."""
    source = random.Random(0)
    for _ in range(200):
        lean = live_program(random_program(source))
        read, number = set(lean.outputs), len(lean.statements)
        for statement in reversed(lean.statements):
            number -= 1
            assert statement.target in read, (lean.text, number)
            read.discard(statement.target)
            read |= {a for a in statement.arguments if isinstance(a, str)}


@given(programs())
def test_updates_that_read_no_gradient_do_not_depend_on_it(program: Program) -> None:
    lean = live_program(program)
    if not reads_gradient(lean):
        one, other = run(lean), run(lean, shift=1.0)
        assert ((one == other) | (one.isnan() & other.isnan())).all()


def test_known_readers_of_the_gradient() -> None:
    assert all(reads_gradient(load_rule(name)) for name in rule_names())
    for lines, outputs, reads in [
        ("u = w * lr", "u, m", False),
        ("u = sin(m)", "u, g", True),
        ("g = sin(w)\n    u = g * lr", "u, m", False),
        ("g = clip(g, lr)\n    u = w * 1.0", "g, m", True),
    ]:
        text = f"def train(w, g, m, lr):\n    {lines}\n    return {outputs}\n"
        assert reads_gradient(live_program(parse(text))) == reads


def test_a_state_that_only_feeds_itself_is_dead() -> None:
    program = parse(
        "def train(w, g, m, v, lr):\n"
        "    m = interp(g, m, 0.9)\n    u = g * lr\n    return u, m, v\n"
    )
    live = liveness(program)
    assert (live.within, live.across, live.states) == (0b11, 0b10, 0)
    assert live_program(program).text == "def train(w, g, lr):\n    u = g * lr\n    return u\n"


def test_states_that_feed_a_ring_which_nothing_reads_are_dead() -> None:
    program = parse(
        "def train(w, g, a, b, lr):\n    x = b + g\n    y = a * g\n    return g, x, y\n"
    )
    assert liveness(program).across == 0 and live_names(program) == ()


def test_a_state_read_through_another_state_lives() -> None:
    program = parse(
        "def train(w, g, a, b, c, lr):\n    u = a * lr\n    x = b + g\n    y = sin(g)\n"
        "    z = c + 1.0\n    return u, x, y, z\n"
    )
    assert live_names(program) == ("a", "b")
    assert liveness(program).across == 0b0111
    lean = live_program(program)
    assert lean.parameters == ("w", "g", "a", "b", "lr") and lean.outputs == ("u", "x", "y")
    assert (run(program) == run(lean)).all()


def test_states_that_change_places_live_together() -> None:
    program = parse("def train(w, g, a, b, lr):\n    u = a + g\n    return u, b, g\n")
    assert live_names(program) == ("a", "b")


def test_a_shadowed_parameter_is_not_read() -> None:
    program = parse("def train(w, g, m, lr):\n    m = sin(g)\n    u = m * lr\n    return u, m\n")
    assert liveness(program).states == 0 and state_kinds(live_program(program)) == ()


def test_a_program_without_statements_is_live_as_it_is() -> None:
    program = parse("def train(w, g, m, lr):\n    return m, g\n")
    live = liveness(program)
    assert (live.within, live.across, live.states) == (0, 0, 1)
    assert live_program(program) == program
