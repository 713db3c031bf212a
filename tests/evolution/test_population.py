"""The oldest dies, the best of those drawn becomes a parent, a restart fills everything."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.evolution.candidate import Candidate
from optforge.evolution.population import Population
from optforge.language import load_rule
from tests.helpers.searches import judged


def member(number: int, fitness: float = 0.0) -> Candidate:
    return replace(judged(fitness, str(number), load_rule("lion").text), number=number)


@given(st.integers(1, 7), st.integers(0, 20))
def test_the_oldest_dies(size: int, count: int) -> None:
    population = Population(size)
    population.restart(member(-1))
    for number in range(count):
        population.add(member(number, fitness=-number))
    expected = ([-1] * size + list(range(count)))[-size:]
    assert [member.number for member in population.members] == expected


def test_a_restart_fills_everything() -> None:
    population = Population(5)
    for number in range(8):
        population.add(member(number))
    population.restart(member(99))
    assert [member.number for member in population.members] == [99] * 5


@pytest.mark.parametrize("tournament", [1, 2, 5])
def test_the_tournament_picks_the_best_of_those_drawn(tournament: int) -> None:
    """The k-th best of n wins with probability ((n - k + 1)^t - (n - k)^t) / n^t."""
    size, draws, source = 10, 6000, random.Random(0)
    population = Population(size)
    for number in range(size):
        population.add(member(number, fitness=float(number)))
    wins = Counter(population.parent(tournament, source).number for _ in range(draws))
    for k in range(size):
        share = ((size - k) ** tournament - (size - k - 1) ** tournament) / size**tournament
        margin = 4 * (share * (1 - share) / draws) ** 0.5 + 1e-9
        assert abs(wins[k] / draws - share) <= margin


def test_a_member_parses_its_text() -> None:
    assert member(0).genome.program == load_rule("lion")
