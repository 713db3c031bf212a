"""The card against what is known of the rules."""

from __future__ import annotations

import numpy
import pytest

from optforge.equality import property_card, update_picture
from optforge.equality.picture import surface
from optforge.language import load_rule, parse


def test_lion_is_invariant_odd_and_bounded() -> None:
    card = property_card(load_rule("lion"))
    assert (card.gradient_scaling, card.parameter_scaling) == ("invariant", "neither")
    assert (card.sign_flip, card.elementwise_flip) == ("odd", "odd")
    assert card.bound == "0.0001 + 1e-05 |w|"  # lr (1 + decay |w|)
    assert (card.states, card.state_bytes, card.statements) == (1, 4.0, 7)
    assert card.learning_rates == pytest.approx((1e-4 / 100, 1e-4 / 1e-4))


def test_momentum_sgd_is_proportional_and_has_no_bound() -> None:
    card = property_card(load_rule("momentum_sgd"))
    assert card.parameter_scaling == "proportional" and card.bound is None
    # Heavy ball: the first step has weight lr, the sixth the sum of six powers of 0.9.
    total = sum(0.9**k for k in range(6))
    assert card.learning_rates == pytest.approx((0.1, 0.1 * total))


def test_adam_is_invariant_up_to_its_guard() -> None:
    card = property_card(load_rule("adamw"))
    assert card.gradient_scaling == "invariant" and card.state_bytes == 8.0


@pytest.mark.parametrize("name", ["program_4", "program_8"])
def test_a_clip_makes_the_size_of_gradients_matter(name: str) -> None:
    assert property_card(load_rule(name)).gradient_scaling == "neither"


@pytest.mark.parametrize(
    ("body", "expected"), [("square(g)", "even"), ("exp(g)", "neither"), ("cube(g)", "odd")]
)
def test_sign_flips(body: str, expected: str) -> None:
    program = parse(f"def train(w, g, lr):\n    u = {body}\n    return u\n")
    assert property_card(program).sign_flip == expected


def test_a_rule_that_couples_elements_is_not_odd_in_each() -> None:
    text = "def train(w, g, lr):\n    u = w * dot(g, w)\n    v = sign(u + g)\n    return v\n"
    card = property_card(parse(text))
    assert card.elementwise_flip == "odd"  # dot(g, w) does not change if both flip
    text = "def train(w, g, lr):\n    s = dot(g, 1.0)\n    v = g + s\n    return v\n"
    assert property_card(parse(text)).elementwise_flip == "neither"


def test_the_surface_of_lion_is_the_sign_of_a_mixture() -> None:
    axis, values = surface(load_rule("lion"))
    gradient, momentum = axis[None, :], axis[:, None]
    mixture = 0.1 * gradient + 0.9 * momentum
    sure = numpy.abs(mixture) > 1e-9
    numpy.testing.assert_allclose(values[sure], 1e-4 * numpy.sign(mixture)[sure])
    assert len(update_picture(load_rule("lion"))) > 5_000
