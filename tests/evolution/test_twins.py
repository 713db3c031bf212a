"""A program with the numbers of a known one takes its verdict; it is not judged again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import pytest

from optforge.analysis import cost, live_program, numeric_fingerprint, wide_updates
from optforge.evolution.candidate import Candidate, Standing
from optforge.evolution.genome import recall
from optforge.evolution.known import KnownPrograms
from optforge.evolution.twins import Twins
from optforge.fitness import rank
from optforge.language import parse, rule_text
from optforge.runs import Proposal
from tests.helpers.searches import pretend, rows, small, state

MUON = """
def train(w, g, m, lr):
    m = interp(g, m, 0.9)
    update = orthogonalize(m)
    update = update * lr
    return update, m
"""
TWICE = MUON.replace("update = orthogonalize(m)", "n = m * 2.5\n    update = orthogonalize(n)")
SLOWER = MUON.replace("0.9", "0.91")
# Keeps a second state for next to nothing.
HEAVY = """
def train(w, g, m, v, lr):
    m = interp(g, m, 0.9)
    v = interp(w, v, 0.9)
    n = v * 1e-30
    n = m + n
    update = orthogonalize(n)
    update = update * lr
    return update, m, v
"""
NOT_FINITE = "def train(w, g, lr):\n    u = g * 1e5\n    u = arcsin(u)\n    return u"
NOR_THIS = NOT_FINITE.replace("1e5", "2e5")


def numbers(text: str) -> str:
    return numeric_fingerprint(wide_updates(live_program(parse(text))))


def known_with(*texts: str) -> KnownPrograms:
    known = KnownPrograms()
    for number, text in enumerate(texts):
        costs = cost(live_program(parse(text)))
        key = rank(-0.1, 5, -0.1, costs.state_bytes, costs.statements)
        known.add(recall(text).fingerprint, Standing(number, key, numbers(text)), None)
    return known


def test_a_factor_before_orthogonalize_makes_a_twin_and_another_average_does_not() -> None:
    ours, factor = recall(MUON), recall(TWICE)
    assert ours.fingerprint != factor.fingerprint
    twins = Twins(known_with(MUON))
    assert twins.of(factor) == ours.fingerprint
    assert twins.of(recall(SLOWER)) is None
    assert Twins(KnownPrograms()).of(factor) is None


@pytest.mark.parametrize("constant", ["0.9", "0.99"])
def test_a_sign_hides_no_other_average(constant: str) -> None:
    """On nine elements the signs of four steps are those of nearly any average."""
    lion = rule_text("lion")
    assert constant in lion
    other = recall(lion.replace(f"{constant})", f"{constant}5)", 1))
    assert numbers(lion) != numbers(other.program.text)
    assert Twins(known_with(lion)).of(other) is None


def test_a_program_on_its_way_stands_for_its_twins() -> None:
    ours = recall(MUON)
    on_its_way = Candidate(3, MUON, ours.fingerprint, "structure", 0)
    assert Twins(KnownPrograms(), [on_its_way]).of(recall(TWICE)) == ours.fingerprint
    drawn = Twins(KnownPrograms())
    drawn.add(ours)
    assert drawn.of(recall(TWICE)) == ours.fingerprint


def test_a_twin_with_less_state_is_judged_and_then_stands_for_all() -> None:
    light, heavy = recall(MUON), recall(HEAVY)
    assert numbers(MUON) == numbers(HEAVY) and cost(heavy.lean).state_bytes == 8.0
    assert Twins(known_with(HEAVY)).of(light) is None
    assert Twins(known_with(MUON)).of(heavy) == light.fingerprint
    assert Twins(known_with(HEAVY, MUON)).of(recall(TWICE)) == light.fingerprint


def test_numbers_that_are_not_finite_say_nothing() -> None:
    assert numbers(NOT_FINITE) == numbers(NOR_THIS)
    assert Twins(known_with(NOT_FINITE)).of(recall(NOR_THIS)) is None


def with_matrices(**changes: Any) -> Any:
    return small(start=MUON, functions=("paper", "matrices"), known_by="numbers", **changes)


def run_of(path: Path, settings: Any) -> list[Proposal]:
    pretend(path, settings, 500)
    return rows(path)["proposals"]


def test_a_search_judges_no_numbers_twice_unless_with_less_state(tmp_path: Path) -> None:
    settings = with_matrices()
    proposals = run_of(tmp_path / "a", settings)
    verdicts = {v.id: v for v in rows(tmp_path / "a")["verdicts"]}
    least: dict[str, float] = {}
    for verdict in verdicts.values():
        if math.isfinite(float(numpy.abs(updates_of(proposals, verdict.id)).max())):
            assert verdict.state_bytes < least.get(verdict.numeric_fingerprint, math.inf)
            least[verdict.numeric_fingerprint] = verdict.state_bytes
    twins = [p for p in proposals if p.fingerprint != recall(p.program).fingerprint]
    assert twins and all(p.cached for p in twins)
    for twin in twins:  # each has the verdict of a program with its numbers
        assert verdicts[twin.verdict].fingerprint == twin.fingerprint
        assert verdicts[twin.verdict].numeric_fingerprint == numbers(twin.program)
    judged_twice = run_of(tmp_path / "b", small(start=MUON, functions=("paper", "matrices")))
    assert all(p.fingerprint == recall(p.program).fingerprint for p in judged_twice)


def updates_of(proposals: list[Proposal], verdict: int) -> numpy.ndarray:
    own = next(p for p in proposals if p.verdict == verdict and not p.cached)
    return wide_updates(recall(own.program).lean)


@pytest.mark.parametrize("programs", [130, 300])
def test_a_resumed_search_finds_the_same_twins(tmp_path: Path, programs: int) -> None:
    whole = pretend(tmp_path / "whole", with_matrices(), 450)
    pretend(tmp_path / "parts", with_matrices(), programs)
    parts = pretend(tmp_path / "parts", with_matrices(), 450)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert state(whole.history) == state(parts.history)
