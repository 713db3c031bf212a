"""Names of rules, and how far a rule without a name is from the nearest one that has one."""

from __future__ import annotations

import pytest

from optforge.equality import recognise, simplify_exact
from optforge.language import parse
from tests.helpers.derived import simple

ADAM = """
def train(w, g, m, v, lr):
    m = interp(g, m, 0.9)
    s = square(g)
    v = interp(s, v, 0.999)
    r = sqrt(v)
    {}
    u = m / r
    {}
    u = u * lr
    u = u * 0.001
    return u, m, v
"""


def test_adam_with_its_own_epsilon_is_adam() -> None:
    rule = simplify_exact(parse(ADAM.format("r = r + 1e-06", "u = u * 1.0"))).program
    found = recognise(rule)
    assert found.name is not None
    assert found.name.startswith("Adam without bias correction with beta1 = 0.9, beta2 = 0.999")
    assert "epsilon 1e-06 + 1e-8" in found.name
    assert found.hyperparameters["epsilon"] == pytest.approx(1e-6) and found.distance == 0


@pytest.mark.parametrize(
    ("root", "more", "distance"),
    [
        ("r = r * 1.0", "u = u * 1.0", 0),
        # One statement more in the middle changes the forms of those that read it: with tanh
        # between quotient and rates these are tanh, and the two that multiply, on both sides.
        ("r = r * 1.0", "u = tanh(u)", 5),
    ],
)
def test_the_distance_counts_statements_of_either_that_the_other_lacks(
    root: str, more: str, distance: int
) -> None:
    found = recognise(
        parse(
            ADAM.format(root, more)
            .replace("    r = r * 1.0\n", "")
            .replace("    u = u * 1.0\n", "")
        )
    )
    assert found.family == "Adam without bias correction"
    assert found.distance == distance and (found.name is None) == (distance > 0)


def test_a_rule_without_a_name_has_its_constants_by_their_roles() -> None:
    found = recognise(simple("program_5").program)
    assert found.name is None and found.like is not None
    assert found.hyperparameters["lr"] == pytest.approx(0.0216)
    assert found.hyperparameters["beta1"] == pytest.approx(0.84)
    assert found.hyperparameters["beta2"] == pytest.approx(0.999)


OTHER_FORMS = {
    "Ortho-Lion with beta1 = 0.95, beta2 = 0.98": """
def train(w, g, m, lr):
    a = m * 19.0
    u = g + a
    u = orthogonalize(u)
    m = interp(m, g, 0.02)
    u = u * lr
    u = u * 0.001
    return u, m
""",
    "Ortho-Lion with beta1 = 0.9, beta2 = 0.99": """
def train(w, g, m, lr):
    size = rms(g)
    size = square(size)
    size = size + 0.5
    u = interp(g, m, 0.9)
    u = u / size
    t = transpose(u)
    t = orthogonalize(t)
    u = transpose(t)
    m = interp(g, m, 0.99)
    u = u * lr
    u = u * 0.001
    return u, m
""",
    "Lion with beta1 = 0.9, beta2 = 0.99": """
def train(w, g, m, lr):
    u = interp(g, m, 0.9)
    step = get_step()
    u = u * step
    u = sign(u)
    u = where_matrix(u, u)
    m = interp(g, m, 0.99)
    u = u * lr
    u = u * 0.001
    return u, m
""",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow) if "0.9, beta2 = 0.99" in n else n
        for n in OTHER_FORMS
    ],
)
def test_a_rule_in_another_form_is_the_same_rule(name: str) -> None:
    found = recognise(simplify_exact(parse(OTHER_FORMS[name])).program)
    assert (found.name or "").startswith(name)


def test_a_rule_with_orthogonal_updates_that_is_not_known_is_like_muon() -> None:
    text = "def train(w, g, m, lr):\n    m = tanh(g)\n    u = orthogonalize(m)\n"
    text += "    c = cos(u)\n    u = u * c\n    u = u * lr\n    return u, m\n"
    assert recognise(parse(text)).like == "Muon-like"
