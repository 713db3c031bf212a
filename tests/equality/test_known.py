"""The paper's rules: what simplifying must find, checked against the paper and the originals."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy
import pytest
import torch

from optforge.analysis import live_program, state_kinds
from optforge.equality import (
    EXACT_REWRITES,
    GUARDED,
    RULES,
    needed_rows,
    recognise,
    simplest,
    simplify_exact,
    to_graph,
)
from optforge.equality.algebraic import Algebraic
from optforge.equality.saturate import proves
from optforge.language import Interpreter, Layout, Program, load_rule, parse, rule_names
from tests.helpers import texts
from tests.helpers.derived import simple

TEXTS = json.loads(texts.FILE.read_text(encoding="utf-8"))
LAYOUT = Layout((6, 3), shapes=((2, 3), (3, 1)), matrices=(True, False))


def trajectory(program: Program, steps: int = 20, scale: float = 1.0) -> numpy.ndarray:
    """Updates of the project's own interpreter, in float64, on gradients that are given."""
    generator = torch.Generator().manual_seed(5)
    rule = Interpreter(program, state_kinds(program), LAYOUT, torch.float64)
    weights = torch.randn(1, LAYOUT.elements, generator=generator, dtype=torch.float64)
    states, updates = rule.initial_states(1), []
    for step in range(steps):
        gradients = scale * torch.randn(
            1, LAYOUT.elements, generator=generator, dtype=torch.float64
        )
        scalars = rule.scalars(1.0 - step / (2 * steps), step, steps)
        update, states = rule.step(weights, gradients, states, scalars)
        weights = weights - 0.1 * update
        updates.append(update)
    return torch.cat(updates).numpy()


def test_program_8_becomes_the_sign_of_one_average() -> None:
    program = simple("program_8").program
    text = program.text
    assert len(program.statements) <= 9
    assert len(program.states) == 1
    assert "sign(" in text and "clip(" in text and "arcsin(" in text
    assert "cosh" not in text and "sqrt" not in text
    state = program.states[0]
    (recurrence,) = [s for s in program.statements if s.target == state]
    assert recurrence.function == "interp" and recurrence.arguments[1] == state
    # The paper's two weights, multiplied: 0.8999999761581421 * 1.109133005142212.
    assert isinstance(recurrence.arguments[2], float)
    assert recurrence.arguments[2] == pytest.approx(0.99822, abs=5e-6)


def test_every_statement_of_program_8_is_what_the_paper_derives() -> None:
    """Against a loop over numpy arrays, written from the mathematics."""
    program = simple("program_8").program
    source = numpy.random.default_rng(3)
    rule = Interpreter(program, state_kinds(program), LAYOUT, torch.float64)
    states, weights, v = (
        rule.initial_states(1),
        source.normal(size=LAYOUT.elements),
        numpy.zeros(LAYOUT.elements),
    )
    for _ in range(20):
        gradients = source.normal(size=LAYOUT.elements)
        update, states = rule.step(
            torch.tensor(weights)[None], torch.tensor(gradients)[None], states, rule.scalars(0.7)
        )
        g = numpy.arcsin(gradients * min(1, 0.7 / numpy.linalg.norm(gradients)))
        b = 0.8999999761581421
        direction = numpy.sign((1 - b) * g + b * v) + 0.4601978361606598 * weights
        expected = 0.7 * 0.0002171761734643951 * direction
        beta = b * 1.109133005142212
        v = (1 - beta) * g + beta * v
        numpy.testing.assert_allclose(update[0].numpy(), expected, rtol=1e-10)
        numpy.testing.assert_allclose(states[0][0].numpy(), v, rtol=1e-9)
        weights = weights - update[0].numpy()


def some(of: Sequence[str], *few: str) -> list[Any]:
    """A few of the rules; the others run with the slow tests."""
    return [*few, *(pytest.param(n, marks=pytest.mark.slow) for n in of if n not in few)]


# Each of these takes 3 to 6 seconds to simplify; what they use, others use too.
LONG = ("adafactor", "adan", "cautious_adamw", "cautious_lion", "lamb", "program_4", "program_6")
QUICK = [name for name in rule_names() if name not in LONG]
TWICE = ("program_8", "ademamix", "muon", "lion")


@pytest.mark.parametrize("name", some(rule_names(), *QUICK))
def test_the_texts_of_a_shipped_rule_stay_as_they_are(name: str) -> None:
    remake = "if the change is meant, run python -m tests.helpers.texts and commit the digests"
    assert texts.digests(name, simple(name)) == TEXTS[name], remake


@pytest.mark.parametrize("name", some(rule_names(), *QUICK))
def test_no_shipped_rule_changes_what_it_computes(name: str) -> None:
    found = simple(name)
    one, other = trajectory(load_rule(name)), trajectory(found.program)
    guarded = any(step.kind == GUARDED for step in found.derivation.steps)
    tolerance = 1e-3 if guarded else 1e-9
    numpy.testing.assert_allclose(other, one, rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("name", some(rule_names(), *TWICE))
def test_simplifying_twice_changes_nothing(name: str) -> None:
    again = simplify_exact(simple(name).program)
    assert again.program == simple(name).program
    assert again.derivation.steps == ()


NAMES = {
    "lion": "Lion with beta1 = 0.9, beta2 = 0.99, weight decay 0.1",
    "signum": "Signum with beta = 0.9",
    "program_3": "AdamW without bias correction with beta1 = 0.9, beta2 = 0.999, epsilon 1e-8",
    "adamw": "AdamW without bias correction",
    "adamw_bias_correction": "AdamW with bias correction",
    "program_7": "AdaBelief without bias correction",
    "adabelief": "AdaBelief without bias correction",
    "nadam": "NAdam without bias correction",
    "momentum_sgd": "momentum SGD",
    "program_8": "Lion with beta1 = 0.9, beta2 = 0.99822",
    "program_4": "Lion with beta1 = 0.899, beta2 = 0.996991",
    "nadamw": "NAdamW with bias correction with beta1 = 0.9, beta2 = 0.999",
    "adan": "Adan with beta1 = 0.98, beta2 = 0.92, beta3 = 0.99",
    "ademamix": "AdEMAMix with beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999, epsilon 1e-8, alpha 5",
    "mars": "MARS with beta1 = 0.95, beta2 = 0.99, epsilon 1e-8, gamma 0.475",
    "cautious_adamw": "Cautious AdamW with beta1 = 0.9, beta2 = 0.999",
    "cautious_lion": "Cautious Lion with beta1 = 0.9, beta2 = 0.99",
    "adafactor": "Adafactor with epsilon 1e-30, power -0.8",
    "lamb": "LAMB with beta1 = 0.9, beta2 = 0.999, epsilon 1e-06",
    "muon": "Muon with beta1 = 0.9, beta2 = 0.999, beta_matrix = 0.95, beta_ahead = 0.9025",
    "ortho_adam": "Ortho-AdamW with beta1 = 0.9, beta2 = 0.999",
    "ortho_lion": "Ortho-Lion with beta1 = 0.9, beta2 = 0.99, weight decay 0.1",
    "ortho_momentum": "Ortho-momentum with beta = 0.75, learning rate 0.01",
    "ortho_split": "Ortho-split with beta1 = 0.6, beta2 = 0.95, scale 2.3",
}


@pytest.mark.parametrize("name", some(list(NAMES), *(n for n in NAMES if n not in LONG)))
def test_known_rules_are_named(name: str) -> None:
    assert (recognise(simple(name).program).name or "").startswith(NAMES[name])


def test_program_6_is_like_adagrad_and_program_5_keeps_its_decay() -> None:
    found = simple("program_6").program
    assert recognise(found).like == "AdaGrad-like"
    assert "minimum(" in found.text and "sinh(" in found.text
    found = simple("program_5").program
    assert recognise(found).name is None
    assert "dot(gradient, weight)" in found.text and "sin(" in found.text


def test_the_bound_of_program_6_acts_as_the_paper_has_it() -> None:
    """With gradients so large that the second moment passes pi, where ``minimum`` holds it."""
    original, found = load_rule("program_6"), simple("program_6").program
    one, other = trajectory(original, scale=30.0), trajectory(found, scale=30.0)
    numpy.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)
    free = parse(original.text.replace("    v = minimum(v, v70)\n", ""))
    assert numpy.abs(trajectory(free, scale=30.0) - one).max() > 1e-3 * numpy.abs(one).max()


@pytest.mark.parametrize("name", ["program_3", "program_5", "program_6", "program_7"])
def test_no_state_of_the_papers_rules_is_lost(name: str) -> None:
    assert len(simple(name).program.states) == 2


def renamed(program: Program) -> Program:
    names = {name: f"q{number}" for number, name in enumerate(sorted(_names(program)))}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")
    return parse(pattern.sub(lambda match: names[match.group()], program.text))


def _names(program: Program) -> set[str]:
    return {*program.parameters, *(s.target for s in program.statements)}


@pytest.mark.parametrize("name", some(["program_8"], "adabelief", "momentum_sgd"))
def test_names_leave_no_trace(name: str) -> None:
    assert simplify_exact(renamed(load_rule(name))).program == simple(name).program


def test_each_step_begins_where_the_one_before_ended_and_parses() -> None:
    found = simple("program_8")
    found.derivation.check()
    assert found.derivation.start == load_rule("program_8").text
    assert parse(found.derivation.end) == found.program
    kinds = [step.kind for step in found.derivation.steps]
    assert kinds[0] == "exact" and "exact up to a guard" in kinds
    (guard,) = [s for s in found.derivation.steps if s.kind == "exact up to a guard"]
    assert "1e-8 / abs(x)" in guard.why
    assert live_program(found.program) == found.program


@pytest.mark.parametrize("name", ["program_8", "nadam", "program_4"])
def test_every_reason_is_needed_and_suffices(name: str) -> None:
    found = simplest(to_graph(load_rule(name)), EXACT_REWRITES)
    rows = needed_rows(found)
    telling = [row for row in rows if not RULES[row].grows]
    assert 0 < len(telling) < len([row for row in found.rows if not RULES[row].grows])
    steps = list(pairwise(found.forms))
    assert all(proves(before, after, rows) for before, after in steps)
    for row in telling:
        fewer = [other for other in rows if other != row]
        assert not all(proves(before, after, fewer) for before, after in steps), RULES[row].name


def test_the_reasons_of_program_8_are_the_papers() -> None:
    steps = simple("program_8").derivation.steps
    text = " ".join(step.why for step in steps)
    assert "cube" not in text and "negative" not in text
    assert "-> abs(x)" in text and "interp(x, y, a * b)" in text
    (guard,) = [step for step in steps if step.kind == "exact up to a guard"]
    assert "with x = interp(arcsin(clip(g, lr)), v, 0.9)" in guard.why


def test_a_step_that_needs_no_guard_is_exact_though_guards_were_allowed() -> None:
    program = parse("def train(w, g, lr):\n    a = sqrt(square(g))\n    u = a * lr\n    return u\n")
    change = Algebraic(guards=True).apply(program)
    assert change is not None and change.step.kind == "exact" and "up to" not in change.step.why
