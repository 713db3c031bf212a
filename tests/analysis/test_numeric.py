"""The numeric fingerprint: a few steps on fixed inputs, hashed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from optforge.analysis import fingerprint, live_program, numeric_fingerprint, probe_updates
from optforge.language import Program, load_rule, parse, rule_names


def program(line: str) -> Program:
    return parse(f"def train(w, g, lr):\n    u = {line}\n    return u\n")


def numeric(line: str) -> str:
    return numeric_fingerprint(probe_updates(live_program(program(line))))


def test_algebraically_equal_programs_agree_where_the_functional_prints_do_not() -> None:
    for one, other in [
        ("g * 2.0", "g + g"),
        ("square(g)", "g * g"),
        ("g * w * lr", "lr * (g * w)"),
    ]:
        assert numeric(one) == numeric(other)
    assert fingerprint(program("g * 2.0")) != fingerprint(program("g + g"))


def test_different_computations_differ() -> None:
    lines = ("g", "w", "g * lr", "g * 2.0", "g * 2.001", "sign(g)", "g / w", "w - g", "g * norm(g)")
    assert len({numeric(f"{line} + 0.0") for line in lines}) == len(lines)


def test_all_failures_are_alike() -> None:
    values = np.array([[1.0, math.nan], [math.inf, 2.0]])
    for bad in (math.nan, -math.inf, math.inf):
        other = np.array([[1.0, bad], [bad, 2.0]])
        assert numeric_fingerprint(other) == numeric_fingerprint(values)
    assert numeric_fingerprint(np.zeros((2, 2))) != numeric_fingerprint(values)


def test_five_digits_count() -> None:
    value = np.full((4, 9), 1.2345)
    assert numeric_fingerprint(value * (1 + 1e-8)) == numeric_fingerprint(value)
    assert numeric_fingerprint(value * (1 + 1e-3)) != numeric_fingerprint(value)


@pytest.mark.parametrize("name", rule_names())
def test_shipped_rules_are_finite_on_the_probe_and_told_apart(name: str) -> None:
    updates = probe_updates(live_program(load_rule(name)))
    assert updates.shape == (4, 9) and updates.dtype == np.float64
    assert np.isfinite(updates).all()
    same = [n for n in rule_names() if numeric_fingerprint(probe_updates(load_rule(n))) ==
            numeric_fingerprint(updates)]  # fmt: skip
    assert set(same) <= ({"adamw", "program_3"} if name in ("adamw", "program_3") else {name})
