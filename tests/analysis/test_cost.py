"""Cost: known answers, counted by hand."""

from __future__ import annotations

import pytest

from optforge.analysis import Cost, cost
from optforge.language import load_rule, parse


@pytest.mark.parametrize(
    ("name", "state_bytes"),
    [
        ("adamw", 8), ("adamw_bias_correction", 8), ("nadam", 8), ("adabelief", 8), ("lion", 4),
        ("momentum_sgd", 4), ("signum", 4), ("program_4", 4), ("program_8", 4),
    ],
)  # fmt: skip
def test_state_bytes_of_known_rules(name: str, state_bytes: float) -> None:
    """AdamW keeps two moments, Lion one; of the raw Lion one of two states is dead."""
    got = cost(load_rule(name))
    assert got.state_bytes == state_bytes
    assert got.traffic_bytes == 12 + 2 * state_bytes  # w, g in, w out; states in and out
    assert cost(load_rule(name), 2).state_bytes == state_bytes / 2
    assert cost(load_rule(name), 2).traffic_bytes == 6 + state_bytes


def test_lion_is_counted_by_hand() -> None:
    # two interp at 3, sign, and decay, sum, rate at 1 each; lr * 0.0001 is no work per parameter
    assert cost(load_rule("lion")) == Cost(4.0, 20.0, 3 + 1 + 3 + 1 + 1 + 1, 0, 7)


def test_reductions_are_counted_where_they_run_over_a_tree() -> None:
    text = (
        "def train(w, g, n, lr):\n    n = norm(g)\n    c = clip(g, 1.0)\n    d = dot(c, w)\n"
        "    s = global_norm(d)\n    u = g * s\n    u = u / n\n    return u, n\n"
    )
    got = cost(parse(text))
    assert got.reductions == 3  # the norm of a scalar is none
    assert got.state_bytes == 0  # the state is written and never read


def test_scalar_states_and_dead_code_cost_nothing() -> None:
    plain = parse("def train(w, g, lr):\n    u = g * lr\n    return u\n")
    more = parse(
        "def train(w, g, s, m, lr):\n    s = s + lr\n    m = cosh(w)\n    u = g * s\n"
        "    return u, s, m\n"
    )
    assert cost(plain) == Cost(0.0, 12.0, 1, 0, 1)
    assert cost(more) == Cost(0.0, 12.0, 1, 0, 2)  # the scalar's statement is live
