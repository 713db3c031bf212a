"""Random valid programs: simplifying keeps their meaning, never lengthens, twice is once."""

from __future__ import annotations

import random

import pytest

from optforge.equality.derivation import GUARDED, Link
from optforge.equality.exact import simplify_exact
from optforge.language import parse
from tests.helpers.free_runs import Counts, compare_freely
from tests.strategies import random_program


def check(seed: int) -> tuple[Counts, bool]:
    """Simplify a program and run both forms; where a guard was used, its bound is stated."""
    program = random_program(random.Random(seed))
    simple = simplify_exact(program)
    assert len(simple.program.statements) <= len(program.statements)
    assert len(simple.program.states) <= len(program.states)
    assert simplify_exact(simple.program).program == simple.program
    guards = [step for step in simple.derivation.steps if step.kind == GUARDED]
    assert all("differs by at most" in step.why for step in guards)
    if guards:
        return Counts(), True
    return compare_freely(program, simple.program, simple.links, 1000 + seed), False


def checked(seeds: range) -> None:
    found = [check(seed) for seed in seeds]
    total = sum((counts for counts, _ in found), Counts())
    guarded = sum(used for _, used in found)
    print(f"{len(found)} programs, {guarded} with guards, {total}")
    assert total.compared > total.skipped and total.free > total.stepwise
    assert guarded < len(found) / 2


@pytest.mark.parametrize("start", [0, pytest.param(18, marks=pytest.mark.slow)])
def test_random_programs_stay_what_they_are(start: int) -> None:
    checked(range(start, start + 12))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("start", range(100, 400, 30))
def test_hundreds_of_random_programs_stay_what_they_are(start: int) -> None:
    checked(range(start, start + 30))


@pytest.mark.parametrize(
    "wrong",
    [
        "m = interp(g, m, 0.90000001)",
        "m = interp(g, m, 0.9)\n    u = u + 1e-10",
        "m = interp(m, g, 0.9)",
    ],
)
def test_the_comparison_sees_a_small_difference(wrong: str) -> None:
    text = "def train(w, g, m, lr):\n    u = sin(m)\n    {}\n    u = u * lr\n    return u, m\n"
    right = parse(text.format("m = interp(g, m, 0.9)"))
    counts = compare_freely(right, right, (Link(0),), 0)
    assert counts.free == 20 * 16 and counts.worst == 0
    with pytest.raises(AssertionError):
        compare_freely(right, parse(text.format(wrong)), (Link(0),), 0)
