"""The check notices what is not equal, and is the language's own meaning."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch

from optforge.ablation import describe
from optforge.analysis import state_kinds
from optforge.equality import (
    EXACT,
    Bounds,
    Change,
    Derivation,
    DerivationStep,
    Link,
    run_passes,
    simplify_exact,
)
from optforge.equality.recurrences import Recurrences
from optforge.equality.reference import Disturbance, ReferenceRule
from optforge.equality.verify import MULTIPLE, compare
from optforge.errors import ProgramError, SimplifyError
from optforge.language import Interpreter, Program, load_rule, parse, rule_names
from optforge.report.json_values import json_text, plain
from optforge.report.simplify.files import simple_rule_json
from optforge.report.simplify.page import simplify_markdown
from tests.helpers.derived import simple


@pytest.mark.parametrize("name", rule_names())
def test_the_evaluator_computes_what_the_interpreter_does(name: str) -> None:
    program = load_rule(name)
    other, source = ReferenceRule(program), numpy.random.default_rng(1)
    rule = Interpreter(program, state_kinds(program), other.layout, torch.float64)
    states, own = rule.initial_states(1), other.zeros()
    for step in range(5):
        weights, gradients = source.normal(size=(2, other.layout.elements))
        inputs = (torch.tensor(weights)[None], torch.tensor(gradients)[None])
        update, states = rule.step(*inputs, states, rule.scalars(0.5, step, 5))
        stepped = other.step(weights, gradients, own, 0.5, moment=(step, 5))
        own = stepped.states
        numpy.testing.assert_allclose(stepped.update, update[0].numpy(), rtol=1e-12)


SHAPED = """
def train(w, g, m, v, x, s, lr):
    a = transpose(g)
    m = matmul(g, a)
    b = matmul(a, g)
    v = interp(b, v, 0.9)
    x = add(a, x)
    c = matmul(m, g)
    d = matmul(c, v)
    e = column_norm(d)
    f = row_mean(g)
    p = get_progress()
    q = where(f, e, p)
    r = rms(v)
    s = mean(x)
    s = s + r
    q = q * s
    y = transpose(x)
    y = orthogonalize(y)
    q = where_matrix(q, y)
    u = q * lr
    return u, m, v, x, s
"""


def test_the_evaluator_knows_all_shapes() -> None:
    program = parse(SHAPED)
    other, source = ReferenceRule(program), numpy.random.default_rng(1)
    assert other.kinds == (4, 5, 3, 1)
    rule = Interpreter(program, other.kinds, other.layout, torch.float64)
    states, own = rule.initial_states(1), other.zeros()
    for step in range(5):
        weights, gradients = source.normal(size=(2, other.layout.elements))
        inputs = (torch.tensor(weights)[None], torch.tensor(gradients)[None])
        update, states = rule.step(*inputs, states, rule.scalars(0.5, step, 5))
        stepped = other.step(weights, gradients, own, 0.5, moment=(step, 5))
        own = stepped.states
        assert stepped.clean.all()
        numpy.testing.assert_allclose(stepped.update, update[0].numpy(), rtol=1e-10)
        for one, two in zip(own, states, strict=True):
            numpy.testing.assert_allclose(one, two[0].numpy(), rtol=1e-10)


@pytest.mark.parametrize("text", [SHAPED, *(load_rule(n).text for n in ("program_8", "adafactor"))])
def test_each_disturbed_run_is_a_run_of_its_own(text: str) -> None:
    """Without a disturbance each is the one run; with one they part, by some units of the last
    place."""
    program = parse(text)
    rule, source = ReferenceRule(program), numpy.random.default_rng(1)
    weights, gradients = source.normal(size=(2, rule.layout.elements))
    states = rule.step(weights, gradients, rule.zeros(), 0.5, moment=(0, 5)).states
    given: Any = (weights, gradients, states, 0.5)
    alone = rule.step(*given, moment=(1, 5))

    class Still(numpy.random.Generator):
        def integers(self, low: Any, high: Any = None, size: Any = None, **_: Any) -> Any:
            return numpy.zeros(size)

    still = rule.step(*given, Disturbance(3, Still(numpy.random.PCG64())), (1, 5))
    moved = rule.step(*given, Disturbance(3, source), (1, 5))
    pairs = [(alone.update, still.update, moved.update)]
    pairs += list(zip(alone.states, still.states, moved.states, strict=True))
    for one, equal, near in pairs:
        assert equal.shape == near.shape == (3, *one.shape)
        for row in equal:
            numpy.testing.assert_allclose(row, one, rtol=1e-14)
        numpy.testing.assert_allclose(near, equal, rtol=1e-9)
    assert len({row.tobytes() for row in moved.update}) == 3


def test_a_state_of_any_shape_that_stays_zero_is_left_out() -> None:
    text = "def train(w, g, m, lr):\n    a = transpose(g)\n    b = matmul({})\n    m = b * m\n"
    text += "    c = matmul({})\n    u = g + c\n    u = u * lr\n    return u, m\n"
    for first, second in (("g, a", "m, g"), ("a, g", "g, m")):
        simple = simplify_exact(parse(text.format(first, second))).program
        assert simple.states == () and len(simple.statements) == 1


WRONG = {
    "another constant": ("0.9", "0.9000001"),
    "another function": ("sign(update)", "tanh(update)"),
    "the new momentum": ("update = interp(gradient, momentum, 0.9)", "update = gradient * 1.0"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_form_is_noticed(what: str) -> None:
    lion = load_rule("lion")
    wrong = parse(lion.text.replace(*WRONG[what], 1))
    assert wrong != lion
    if what == "another constant":  # a sign hides it in the update: look at the state
        wrong = parse(lion.text.replace("0.99)", "0.9900001)"))
    assert compare(lion, wrong, (Link(0),)).worst > MULTIPLE


class Liar:
    """A pass that claims what is not so."""

    def apply(self, program: Program) -> Change | None:
        if "tanh" in program.text:
            return None
        after = parse(program.text.replace("sign", "tanh"))
        return Change(
            after, DerivationStep(EXACT, program.text, after.text, "so it is said"), (Link(0),)
        )


class WrongOnce(Liar):
    """A pass that is wrong the first time it is asked, as an e-graph that is used again can be."""

    def __init__(self) -> None:
        self.asked = 0

    def apply(self, program: Program) -> Change | None:
        self.asked += 1
        return super().apply(program) if self.asked == 1 else None


def test_a_step_whose_check_fails_has_a_second_try() -> None:
    once = WrongOnce()
    found = run_passes(load_rule("lion"), (once,))
    assert once.asked == 2 and "tanh" not in found.program.text


def test_a_step_whose_check_fails_is_an_error() -> None:
    with pytest.raises(SimplifyError, match="so it is said"):
        run_passes(load_rule("lion"), (Liar(),))


def test_a_derivation_that_does_not_hang_together_is_refused() -> None:
    lion, signum = load_rule("lion").text, load_rule("signum").text
    with pytest.raises(ProgramError, match="step 1"):
        Derivation(lion, (DerivationStep(EXACT, signum, lion, "no"),)).check()
    with pytest.raises(ProgramError, match="allowed are"):
        DerivationStep("certain", lion, signum, "no")


def test_a_derivation_survives_json() -> None:
    steps = (
        DerivationStep(EXACT, load_rule("lion").text, load_rule("signum").text, "why", {"n": 1}),
    )
    derivation = Derivation(load_rule("lion").text, steps)
    assert Derivation.from_json(derivation.start, plain(derivation.to_json())) == derivation


def test_two_states_that_hold_multiples_become_one() -> None:
    program = parse(
        "def train(w, g, m, v, lr):\n"
        "    m = interp(g, m, 0.9)\n"
        "    h = g * 3.0\n"
        "    v = interp(h, v, 0.9)\n"
        "    u = m * v\n"
        "    return u, m, v\n"
    )
    change = Recurrences().apply(program)
    assert change is not None and len(change.program.states) == 1
    assert compare(program, change.program, change.links).worst <= MULTIPLE


def test_a_state_that_stays_zero_is_left_out() -> None:
    program = parse(
        "def train(w, g, m, v, lr):\n"
        "    m = interp(g, m, 0.9)\n"
        "    v = v * 0.5\n"
        "    u = m + v\n"
        "    return u, m, v\n"
    )
    change = Recurrences().apply(program)
    assert change is not None and "stays there" in change.step.why
    assert len(change.program.states) == 1 and len(change.program.statements) == 1


def test_a_zero_state_is_left_out_beside_others() -> None:
    program = parse(
        "def train(w, g, m, v, s, lr):\n"
        "    v = w - m\n"
        "    u = v + s\n"
        "    s = interp(g, s, 0.9)\n"
        "    return u, m, v, s\n"
    )
    found = simplify_exact(program)
    assert found.program.states == ("momentum",)
    assert len(found.program.statements) == 2


def test_a_state_that_the_algebra_makes_dead_leaves_and_a_constant_state_stays() -> None:
    program = parse(
        "def train(w, g, m, v, lr):\n"
        "    n = m - m\n"
        "    u = g + n\n"
        "    u = u * v\n"
        "    m = g * 2.0\n"
        "    v = get_e()\n"
        "    return u, m, v\n"
    )
    found = simplify_exact(program)
    assert len(found.program.states) == 1  # v is 0 at the first step and e later on
    assert found.links == (Link(1),)
    assert compare(program, found.program, found.links).worst <= MULTIPLE


def test_states_that_only_look_alike_are_kept() -> None:
    program = parse(
        "def train(w, g, m, v, lr):\n"
        "    m = interp(g, m, 0.9)\n"
        "    v = interp(g, v, 0.8)\n"
        "    u = m * v\n"
        "    return u, m, v\n"
    )
    assert Recurrences().apply(program) is None


def test_a_stop_by_the_clock_is_reported_everywhere() -> None:
    program = load_rule("program_8")
    found = describe(simplify_exact(program, Bounds(seconds=0.0)))
    assert any("wall clock" in stop for stop in found.simplified.stops)
    assert simple_rule_json(found)["stopped_by"] == list(found.simplified.stops)
    assert "wall clock" in simplify_markdown(found)
    assert simple_rule_json(describe(simple("signum")))["stopped_by"] == []


def test_a_number_that_json_lacks_becomes_null() -> None:
    found = describe(simple("signum"))
    steps = (DerivationStep("exact", "", "", "", {"worst": float("inf")}),)
    simplified = replace(found.simplified, derivation=Derivation("", steps))
    text = json_text(simple_rule_json(replace(found, simplified=simplified)))
    assert json.loads(text)["steps"][0]["figures"] == {"worst": None}
