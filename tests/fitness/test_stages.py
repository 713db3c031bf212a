"""The order of the judgement, the probe's reasons, the rank of outcomes, seeds by purpose."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.analysis import live_program, probe_updates
from optforge.fitness import plan_stages, probe, rank, seeds
from optforge.language import load_rule, parse, rule_names
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS
from tests.helpers.tiny import Blobs, Sums


class Other(Sums):
    steps = 40


def test_a_look_at_each_task_then_the_rest() -> None:
    stages = plan_stages([Blobs(), Sums(), Other()], 3)
    assert [(stage.task, stage.seeds) for stage in stages] == [
        ("Blobs", (0,)),
        ("Sums", (0,)),
        ("Other", (0,)),
        ("Blobs", (1, 2)),
        ("Sums", (1, 2)),
        ("Other", (1, 2)),
    ]
    assert [len(stage.checkpoints) for stage in stages] == [4, 3, 4, 0, 0, 0]
    assert stages[0].checkpoints == (2, 3, 7, 13) and stages[1].checkpoints == (2, 6, 10)
    assert [stages[i].name for i in (0, 3)] == ["Blobs, repeat 0", "Blobs, repeats 1-2"]


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_every_repeat_once_and_positions_without_gaps(repeats: int) -> None:
    tasks = [Blobs(), Sums()]
    stages = plan_stages(tasks, repeats)
    for task in tasks:
        trained = [seed for stage in stages if stage.task == task.name for seed in stage.seeds]
        assert trained == list(range(repeats))
    positions = [range(stage.first, stage.last + 1) for stage in stages]
    assert list(itertools.chain(*positions)) == list(range(stages[-1].last + 1))
    for stage in stages:
        assert all(0 < mark < 20 for mark in stage.checkpoints)
        assert stage.last - stage.first == len(stage.checkpoints)


REASONS = {
    "not finite": "z = w - w\n    u = log(z)\n    u = u * g",
    "constant": "u = w * 0.1",
    "frozen": "u = g * 0.000000000001",
    "exploding": "u = g * 100000.0",
    "ascending": "u = negative(g)",
    None: "u = g * 0.1",
}


@pytest.mark.parametrize("reason", REASONS, ids=str)
def test_each_reason_of_the_probe(reason: str | None) -> None:
    program = parse(f"def train(w, g, lr):\n    {REASONS[reason]}\n    return u")
    assert probe(program).reason == reason


@pytest.mark.parametrize("line", ["arcsin(w)", "arctanh(w)", "arcsin(g)", "arctanh(g)"])
def test_the_probe_knows_how_small_weights_and_gradients_are(line: str) -> None:
    """Infinite or NaN beyond 1, where neither gets in training."""
    text = f"def train(w, g, lr):\n    a = {line}\n    a = a * 0.001\n    u = a + g\n    return u"
    assert not np.isfinite(probe_updates(parse(text))).all()
    assert probe(parse(text)).reason is None
    # What nothing could train is seen at small scales as well.
    assert probe(parse(text.replace("a + g", "a - g"))).reason == "ascending"


# Program 5 takes the sine of a ratio that starts at 5: its first few steps do go uphill.
@pytest.mark.parametrize("name", sorted({*rule_names()} - {"program_5"}))
def test_the_probe_lets_known_rules_pass(name: str) -> None:
    assert probe(live_program(load_rule(name))).reason is None


def test_a_gradient_that_arrives_through_a_state_is_no_constant() -> None:
    text = "def train(w, g, m, lr):\n    u = m * 0.1\n    m = g * 1.0\n    return u, m"
    assert probe(parse(text)).reason is None


_NUMBER = st.floats(-5, 5) | st.sampled_from([0.0, 1.0])
_LOSS = _NUMBER | st.sampled_from([math.inf, math.nan])
_COST = st.sampled_from([0.0, 4.0, 8.0])
_LENGTH = st.integers(0, 3)
JUDGED = st.tuples(_NUMBER, st.just(7), _LOSS, _COST, _LENGTH)
REJECTED = st.tuples(st.just(math.inf), st.integers(-1, 6), _LOSS, _COST, _LENGTH)


@given(JUDGED, REJECTED)
def test_whoever_is_judged_is_better_than_whoever_is_rejected(a: tuple, b: tuple) -> None:
    assert rank(*a) < rank(*b)


@given(JUDGED, JUDGED)
def test_judged_ones_by_fitness_then_bytes_then_length(a: tuple, b: tuple) -> None:
    assert (rank(*a) < rank(*b)) == ((a[0], a[3], a[4]) < (b[0], b[3], b[4]))


@given(REJECTED, REJECTED)
def test_rejected_ones_by_stage_then_loss_then_bytes_then_length(a: tuple, b: tuple) -> None:
    (_, stage_a, loss_a, *rest_a), (_, stage_b, loss_b, *rest_b) = a, b
    loss_a, loss_b = (math.inf if math.isnan(v) else v for v in (loss_a, loss_b))
    expected = (-stage_a, loss_a, *rest_a) < (-stage_b, loss_b, *rest_b)
    assert (rank(*a) < rank(*b)) == expected


@given(st.lists(JUDGED | REJECTED, min_size=2, max_size=6))
def test_the_rank_is_a_total_order(outcomes: list[tuple]) -> None:
    ranks = [rank(*outcome) for outcome in outcomes]
    for a, b in itertools.combinations(ranks, 2):
        assert (a < b) + (a == b) + (a > b) == 1
    assert sorted(ranks) == sorted(reversed(ranks))


def test_nan_fitness_is_no_verdict() -> None:
    assert rank(math.nan, 7, math.nan, 0.0, 0) > rank(0.0, 7, 0.0, 8.0, 9)


PURPOSES = {
    "search": 5, "rescore": 8, "select 0": 8, "select 1": 16, "rescale": 8, "report": 24, "tune": 8,
    "tune again": 8,
}  # fmt: skip


def test_seeds_of_different_purposes_runs_and_tasks_are_disjoint() -> None:
    drawn = [
        seed
        for run in range(5)
        for task in (*PROXY_TASKS, HELD_OUT_TASK)
        for purpose, count in PURPOSES.items()
        for seed in seeds(run, task, purpose, count)
    ]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= seed < 2**31 for seed in drawn)


def test_seeds_come_from_content_alone() -> None:
    assert seeds(3, "Blobs", "search", 2) == seeds(3, "Blobs", "search", 9)[:2]
