"""Planted answers: where a simple change wins, a small search by real training finds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from optforge.analysis import reads_gradient
from optforge.evolution import History
from optforge.language import FUNCTIONS, parse
from tests.helpers.searches import rows, small, tiny_plan, train_search
from tests.helpers.tiny import Blobs

TIMID = "def train(w, g, lr):\n    u = g * 0.0001\n    u = u * lr\n    return u"
UPHILL = "def train(w, g, lr):\n    u = g * 0.3\n    u = u * lr\n    u = negative(u)\n    return u"
# The decay has the wrong sign and drives the weights out.
WRONG_SIGN = """
def train(w, g, lr):
    u = g * 0.3
    d = w * -1.5
    u = u + d
    u = u * lr
    return u
"""
QUICK: Mapping[str, Any] = {"max_state_bytes": 0.0, "population": 30, "repeats": 1}


def search(path: Path, start: str, programs: int, **settings: Any) -> History:
    plan = tiny_plan(small(start=start, **{**QUICK, **settings}), [Blobs()])
    return train_search(path / "run", plan, programs)


def first_fitness(path: Path) -> float:
    return rows(path / "run" / "journal.sqlite")["verdicts"][0].fitness


def test_a_constant_far_too_small_is_raised(tmp_path: Path) -> None:
    history = search(tmp_path, TIMID, 250, strategy="constants")
    best = history.leading("constants")[0]
    assert best.fitness < first_fitness(tmp_path) - 0.1
    constant = parse(best.text).statements[0].arguments[1]
    assert isinstance(constant, float) and constant > 0.01


def test_a_rule_that_goes_uphill_is_turned_round(tmp_path: Path) -> None:
    history = search(tmp_path, UPHILL, 150)
    assert first_fitness(tmp_path) > 1.0, "the start climbs: far behind the baseline"
    assert history.leading("structure")[0].fitness < 0.5


def test_a_term_of_the_wrong_sign_is_mended(tmp_path: Path) -> None:
    history = search(tmp_path, WRONG_SIGN, 200)
    best = history.leading("structure")[0]
    assert best.fitness < min(first_fitness(tmp_path), 10.0) - 0.2


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_constants_first_then_structure_finds_at_least_as_much(tmp_path: Path, seed: int) -> None:
    history = search(tmp_path, TIMID, 300, constants_programs=100, seed=seed)
    constants, structure = (history.leading(phase)[0] for phase in ("constants", "structure"))
    assert structure.fitness <= constants.fitness < first_fitness(tmp_path)


def test_what_is_judged_reads_the_gradient(tmp_path: Path) -> None:
    history = search(tmp_path, UPHILL, 150)
    for candidate in history.best:
        program = parse(candidate.text)
        assert reads_gradient(program)
        assert all(s.function in FUNCTIONS for s in program.statements)
