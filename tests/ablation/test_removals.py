"""Every way of leaving a statement out, and what may not be left out."""

from __future__ import annotations

import random

import pytest

from optforge.ablation.evolve import Evolved
from optforge.ablation.protection import allowed_changes, find_protected, follow
from optforge.ablation.removals import ProposedChange, Removals, size
from optforge.ablation.rounding import Roundings, digits, fewest, shorter
from optforge.analysis import fingerprint, liveness, state_kinds
from optforge.equality import simplify_exact
from optforge.language import load_rule, parse, rule_names
from tests.strategies import random_program


@pytest.mark.parametrize("name", rule_names())
def test_candidates_are_shorter_valid_rules_that_read_gradient_and_schedule(name: str) -> None:
    rule = load_rule(name)
    found = Removals(rule).candidates()
    assert found
    assert len({fingerprint(one.program) for one in found}) == len(found)
    assert len({one.key for one in found}) == len(found), "verdicts are remembered by key"
    for one in found:
        state_kinds(one.program)
        assert size(one.program) < size(rule)
        reads = {a for s in one.program.statements for a in s.arguments}
        assert {one.program.gradient, one.program.lr} <= reads, one.change


def test_candidates_of_random_programs_are_valid() -> None:
    count = 0
    for seed in range(200):
        program = random_program(random.Random(seed))
        for one in Removals(program).candidates():
            state_kinds(one.program)
            assert size(one.program) < size(program)
            count += 1
    assert count > 20


def changes(name: str) -> set[str]:
    return {one.change for one in Removals(load_rule(name)).candidates()}


def test_lion_can_lose_its_sign_its_decay_and_one_of_its_averages() -> None:
    found = changes("lion")
    assert "sign(update) -> update" in found
    assert "update + weight_decay -> update" in found
    first, second = "interp(gradient, momentum, 0.9)", "interp(gradient, momentum, 0.99)"
    assert {f"{first} -> {second}", f"{second} -> {first}", f"{first} -> gradient"} <= found


def test_two_averages_merged_are_one_state_read_once() -> None:
    by_change = {one.change: one.program for one in Removals(load_rule("lion")).candidates()}
    merged = by_change["interp(gradient, momentum, 0.99) -> interp(gradient, momentum, 0.9)"]
    signum = load_rule("signum").text.replace("0.01", "0.1").replace("0.001", "0.0001")
    assert fingerprint(merged) == fingerprint(parse(signum))


def test_the_schedule_cannot_be_left_out() -> None:
    rule = parse("def train(w, g, lr):\n    u = sign(g)\n    u = u * lr\n    return u\n")
    assert [one.change for one in Removals(rule).candidates()] == ["sign(g) -> g"]


def test_several_changes_together_and_contradictions() -> None:
    removals = Removals(load_rule("lion"))
    by_change = {one.change: one for one in removals.candidates()}
    both = removals.together(
        [by_change["sign(update) -> update"], by_change["update + weight_decay -> update"]]
    )
    assert both is not None and size(both) == size(load_rule("lion")) - 3
    first, second = "interp(gradient, momentum, 0.9)", "interp(gradient, momentum, 0.99)"
    circle = [by_change[f"{first} -> {second}"], by_change[f"{second} -> {first}"]]
    assert removals.together(circle) is None


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("sign", "sign("),
        ("momentum", "0.99) -> gradient"),
        ("weight_decay", "update + weight_decay ->"),
    ],
)
def test_a_protected_name_is_in_no_candidate(name: str, lost: str) -> None:
    way = Removals(load_rule("lion"))
    found = way.candidates()
    assert any(lost in one.change for one in found)
    kept = find_protected([name], load_rule("lion"))
    assert not any(lost in one.change for one in allowed_changes(way, found, kept))


def test_a_protected_state_stays_alive() -> None:
    lion = load_rule("lion")
    way = Removals(lion)
    for one in allowed_changes(way, way.candidates(), find_protected(["momentum"], lion)):
        assert liveness(one.program).states == 1, one.change


TWICE_READ = parse("""
def train(w, g, m, lr):
    first = g + m
    second = tanh(m)
    m = interp(g, m, 0.9)
    update = first + second
    update = update * lr
    update = update * 0.1
    return update, m
""")


def test_two_removals_that_each_leave_a_state_alive_may_not_kill_it_together() -> None:
    way, kept = Removals(TWICE_READ), find_protected(["m"], TWICE_READ)
    allowed = {one.change: one for one in allowed_changes(way, way.candidates(), kept)}
    both = [allowed["g + m -> g"], allowed["first + second -> first"]]
    together = way.together(both)
    assert together is not None and not together.states, "each alone leaves the state alive"
    assert follow(way, both, together, kept) is None
    assert follow(way, both, together, find_protected([], TWICE_READ)) is not None


def test_what_evolution_proposes_must_have_the_protected_variable() -> None:
    lion = load_rule("lion")
    bare = parse(
        "def train(w, g, momentum, lr):\n    u = sign(momentum)\n    u = u * lr\n"
        "    momentum = interp(g, momentum, 0.98)\n    return u, momentum\n"
    )
    decayed = parse(lion.text.replace("sign(update)", "tanh(update)"))
    way = Evolved(tuple(ProposedChange(p, "", "", str(n)) for n, p in enumerate((bare, decayed))))
    kept = find_protected(["weight_decay"], lion)
    assert [one.program for one in allowed_changes(way, way.candidates(), kept)] == [decayed]
    other = parse(lion.text.replace("weight * 0.1", "weight * 0.2"))
    assert kept.settled(other) is None, "a protected hyper-parameter has its value"


def test_a_protected_variable_is_followed_when_its_name_goes_to_another() -> None:
    """Without the first average the second one would be called ``average``."""
    rule = parse("""
def train(weight, gradient, momentum, lr):
    average = interp(gradient, momentum, 0.5)
    update = sign(average)
    average_2 = interp(gradient, momentum, 0.9)
    update = update + average_2
    momentum = interp(gradient, momentum, 0.99)
    update = update * lr
    update = update * 0.1
    return update, momentum
""")
    kept = find_protected(["average_2"], rule)
    way = Removals(rule)
    (first,) = [
        one
        for one in allowed_changes(way, way.candidates(), kept)
        if one.change == "interp(gradient, momentum, 0.5) -> gradient"
    ]
    after = follow(way, [first], first.program, kept)
    assert after is not None and "average_2" not in first.program.text
    way = Removals(first.program)
    candidates = way.candidates()
    changes = [one.change for one in candidates]
    left = [one.change for one in allowed_changes(way, candidates, after)]
    touching = [
        change for change in changes if change.startswith("interp(gradient, momentum, 0.9)")
    ]
    assert touching and not set(touching) & set(left)
    assert any(change.startswith("interp(gradient, momentum, 0.99)") for change in left)


def test_a_protected_state_is_followed_through_exact_steps_that_rename_it() -> None:
    rule = parse("""
def train(weight, gradient, momentum, momentum_2, lr):
    momentum_2 = interp(gradient, momentum_2, 0.9)
    update = sign(momentum_2)
    update = update * lr
    return update, momentum, momentum_2
""")
    exact = simplify_exact(rule)
    assert exact.program.states == ("momentum",)
    kept = find_protected(["momentum_2"], rule).renamed(rule, exact.program, exact.links)
    assert kept is not None and kept.states == {"momentum"}


@pytest.mark.parametrize(
    ("value", "count"), [(0.9, 1), (0.99, 2), (200.0, 1), (1e-8, 1), (0.8999999761581421, 16)]
)
def test_digits(value: float, count: int) -> None:
    assert digits(value) == count


def test_shorter_constants_are_near_and_no_structure() -> None:
    source = random.Random(0)
    for _ in range(300):
        value = float(f"{10 ** source.uniform(-8, 3):.{source.randint(1, 8)}g}")
        found = shorter(value)
        assert all(digits(one) < digits(value) for one in found)
        assert [digits(one) for one in found] == sorted(digits(one) for one in found)
        assert not {0.0, 1.0} & set(found)
        assert all(abs(one - value) <= abs(value) for one in found)
    assert 0.9 in shorter(0.8999999761581421)
    assert shorter(-0.123) == [-0.1, -0.12]


def test_roundings_change_one_constant_and_leave_rates_apart() -> None:
    rule = load_rule("program_8")
    inner, rates = Roundings(rule, rates=False), Roundings(rule, rates=True)
    assert {one.change.split(" = ")[0] for one in inner.candidates()} == {"beta1", "beta2"}
    names = {one.change.split(" = ")[0] for one in rates.candidates()}
    assert names == {"lr", "weight_decay"}
    chosen = fewest(rates.candidates(), [0.0] * len(rates.candidates()))
    both = rates.together(chosen)
    assert both is not None and "lr * 0.0002" in both.text and "0.5" in both.text
