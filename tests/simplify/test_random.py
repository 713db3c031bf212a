"""Random valid programs: simplifying keeps their meaning, never lengthens, twice is once."""

from __future__ import annotations

import random

import pytest

from optforge.simplify.derivation import GUARDED
from optforge.simplify.exact import simplify_exact
from optforge.simplify.verify import MULTIPLE, compare
from tests.strategies import random_program


def check(seed: int) -> tuple[int, int]:
    program = random_program(random.Random(seed))
    simple = simplify_exact(program)
    assert len(simple.program.statements) <= len(program.statements)
    assert len(simple.program.states) <= len(program.states)
    assert simplify_exact(simple.program).program == simple.program
    guarded = not any(step.kind == GUARDED for step in simple.derivation.steps)
    found = compare(program, simple.program, simple.links, guarded=guarded, seed=1000 + seed)
    assert found.worst <= MULTIPLE, simple.program.text
    return found.values, found.skipped


@pytest.mark.parametrize("start", range(0, 24, 12))
def test_random_programs_stay_what_they_are(start: int) -> None:
    counts = [check(seed) for seed in range(start, start + 12)]
    assert sum(values for values, _ in counts) > sum(skipped for _, skipped in counts)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 400, 20))
def test_hundreds_of_random_programs_stay_what_they_are(start: int) -> None:
    for seed in range(start, start + 20):
        check(seed)
