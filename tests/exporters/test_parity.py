"""Exported files compute what the interpreter computes, element by element, in float64."""

from __future__ import annotations

import random
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from optforge.analysis import reads_gradient
from optforge.language import Program, load_rule, rule_names
from tests.helpers.parity import Scenario, Verdict, compare
from tests.helpers.rich import rich_program
from tests.helpers.subjects import ExportedOptax, ExportedTorch
from tests.strategies import random_program

SHAPES = ((3, 2), (4,), (), (0,), (1, 2), (2, 3, 2))


@pytest.fixture(autouse=True)
def wide_numbers() -> Iterator[None]:
    with jax.enable_x64(True), np.errstate(all="ignore"):
        yield


def check(verdict: Verdict, program: Program) -> None:
    assert not verdict.errors, "\n".join([program.text, *verdict.errors[:5]])


@pytest.mark.parametrize("name", rule_names())
def test_shipped_rules_for_torch_over_100_steps_saved_half_way(name: str) -> None:
    program, scenario = load_rule(name), Scenario()
    verdict = compare(program, ExportedTorch(program, scenario, save_at=50), scenario)
    assert not verdict.by_step and verdict.compared > 0
    check(verdict, program)


@pytest.mark.parametrize("jit", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", rule_names())
def test_shipped_rules_for_optax_over_100_steps_saved_half_way(name: str, jit: bool) -> None:
    program, scenario = load_rule(name), Scenario(steps=100)
    verdict = compare(program, ExportedOptax(program, scenario, 50, jit), scenario)
    assert not verdict.by_step and verdict.compared > 0
    check(verdict, program)


def random_programs(first: int, count: int) -> Iterator[tuple[int, Program]]:
    """Valid programs, alternately rich ones and any that depends on the gradient."""
    seed = first
    while count:
        program = rich_program(seed) if seed % 3 else random_program(random.Random(seed))
        if reads_gradient(program):
            yield seed, program
            count -= 1
        seed += 1


@pytest.mark.parametrize(
    ("target", "count", "steps"),
    [
        ("torch", 20, 12),
        ("optax", 4, 6),
        pytest.param("torch", 300, 12, marks=pytest.mark.slow),
        pytest.param("optax", 200, 8, marks=pytest.mark.slow),
    ],
)
def test_random_programs_saved_half_way(target: str, count: int, steps: int) -> None:
    run_random(target, 0, count, steps)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["torch", "optax"])
def test_more_random_programs_over_more_steps(target: str) -> None:
    run_random(target, 2 * 10**6, 200, 60 if target == "torch" else 30)


def run_random(target: str, first: int, count: int, steps: int) -> dict[str, int]:
    """Compare random programs, and count how: over the whole path, step by step, never finite."""
    tally = {"paths": 0, "by step": 0, "never finite": 0, "compared": 0, "undetermined": 0}
    for seed, program in random_programs(first, count):
        scenario = Scenario(SHAPES, steps=steps, seed=seed)
        subject = ExportedTorch if target == "torch" else ExportedOptax
        verdict = compare(program, subject(program, scenario, save_at=steps // 2), scenario)
        check(verdict, program)
        tally["by step" if verdict.by_step else "paths"] += 1
        tally["never finite"] += not verdict.compared
        tally["compared"] += verdict.compared
        tally["undetermined"] += verdict.undetermined
    print(target, tally)
    assert tally["paths"] > 0.3 * count and tally["never finite"] < 0.1 * count
    assert tally["undetermined"] < 0.1 * tally["compared"]
    return tally
