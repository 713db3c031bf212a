"""A rule with its schedule straightened follows the schedule once, and knows nothing else of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from optforge.analysis import state_kinds
from optforge.assessment.straighten import follows_schedule, straightened
from optforge.language import Interpreter, Layout, Program, load_rule, parse, rule_names
from tests.helpers.rich import rich_program

SHAPES, MATRICES = ((3, 4), (4, 3), (5, 1), (2, 1)), (True, True, False, False)
LAYOUT = Layout(tuple(a * b for a, b in SHAPES), shapes=SHAPES, matrices=MATRICES)
RATES = (0.25, 1.0, 0.5, 0.125)  # powers of two, so that scaling rounds nothing
PROPORTIONAL = ("adamw", "adamw_bias_correction", "lion", "signum", "muon", "momentum_sgd")

OWN = {
    "root": "def train(w, g, lr):\n    lr = sqrt(lr)\n    u = g * lr\n    return u",
    "kept": "def train(w, g, s, lr):\n    u = g * s\n    u = u * lr\n    return u, lr",
    "rewritten and kept": (
        "def train(w, g, s, lr):\n    u = g * s\n    lr = lr + s\n    lr = lr * 0.5\n"
        "    u = u * lr\n    return u, lr"
    ),
    "the update is called lr": "def train(w, g, lr):\n    lr = g * lr\n    return lr",
    "names are taken": (
        "def train(w, g, flat, lr):\n    straight = g + flat\n    lr = cos(lr)\n"
        "    flat2 = straight * lr\n    return flat2, straight"
    ),
    "progress": (
        "def train(w, g, m, lr):\n    p = get_progress()\n    p = 1.0 - p\n"
        "    m = interp(g, m, p)\n    u = m * lr\n    return u, m"
    ),
    "step": "def train(w, g, lr):\n    n = get_step()\n    u = g / n\n    u = u * lr\n    return u",
    "clips": "def train(w, g, lr):\n    u = clip(g, lr)\n    return u",
}


def inputs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(4)
    shape = (2, LAYOUT.elements)
    return [
        tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        for _ in RATES
    ]  # type: ignore[misc]


def outputs(program: Program, rates: tuple[float, ...], half_way: bool = False) -> list[Any]:
    """Update and states of each step, from the same weights and gradients whatever it did."""
    rule = Interpreter(program, state_kinds(program), LAYOUT, torch.float64)
    states, found = rule.initial_states(2), []
    for step, ((weights, slopes), lr) in enumerate(zip(inputs(), rates, strict=True)):
        total = 2 * (step + 1) if half_way else len(rates)
        scalars = rule.scalars(lr, step, total)
        update, states = rule.step(weights, slopes, states, scalars)
        found.append((update.numpy(), [np.asarray(state) for state in states]))
    return found


def check(program: Program) -> None:
    """u(w, g, s, lr) has become lr u(w, g, s, 1), and the states are those at the peak."""
    straight = straightened(program)
    peak = outputs(program, (1.0,) * len(RATES), half_way=True)
    for (ours, own), (theirs, states), lr in zip(
        outputs(straight, RATES), peak, RATES, strict=True
    ):
        np.testing.assert_array_equal(ours, lr * theirs)
        for a, b in zip(own, states, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", rule_names())
def test_shipped_rules(name: str) -> None:
    check(load_rule(name))


@pytest.mark.parametrize("name", OWN)
def test_whatever_is_made_of_the_schedule(name: str) -> None:
    check(parse(OWN[name]))


def test_random_rules() -> None:
    for seed in range(150):
        check(rich_program(seed))


@pytest.mark.parametrize("name", PROPORTIONAL)
def test_a_rule_that_is_proportional_to_the_schedule_stays_what_it_is(name: str) -> None:
    rule = load_rule(name)
    before, after = outputs(rule, RATES), outputs(straightened(rule), RATES)
    for (a, _), (b, _) in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def is_unchanged(rule: Program) -> bool:
    pairs = zip(outputs(rule, RATES), outputs(straightened(rule), RATES), strict=True)
    return all(
        np.allclose(a, b, rtol=1e-9) and all(map(np.allclose, kept, states))
        for (a, kept), (b, states) in pairs
    )


def test_a_rule_that_follows_the_schedule_is_unchanged() -> None:
    """Whatever is said to follow the schedule does; of shipped rules nothing is missed."""
    assert all(follows_schedule(load_rule(name)) for name in PROPORTIONAL)
    assert {key for key, text in OWN.items() if follows_schedule(parse(text))} == {
        "step", "the update is called lr",
    }  # fmt: skip
    rules = [rich_program(seed) for seed in range(100)]
    assert all(is_unchanged(rule) for rule in rules if follows_schedule(rule))
    assert all(follows_schedule(straightened(rule)) for rule in rules)
    assert all(
        follows_schedule(rule) for rule in map(load_rule, rule_names()) if is_unchanged(rule)
    )


def test_program_8_clips_by_the_schedule_and_does_not_stay() -> None:
    rule = load_rule("program_8")
    before, after = outputs(rule, RATES), outputs(straightened(rule), RATES)
    assert any(
        not np.allclose(a, b, rtol=1e-6) for (a, _), (b, _) in zip(before, after, strict=True)
    )


def test_it_is_straight_already_the_second_time() -> None:
    for name in rule_names():
        once = straightened(load_rule(name))
        for (a, _), (b, _) in zip(
            outputs(once, RATES), outputs(straightened(once), RATES), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-12)
