"""Meta-validation: its share, its curve, its onset, its restarts, and resuming through all that."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import pytest

from optforge.evolution import History, Settings
from optforge.evolution.overfitting import Validation, onset, overfitted_ranges
from optforge.evolution.validation import Validator, rates, step_operations, validation_cost
from optforge.execution import InlineExecutor
from optforge.fitness import Measure
from optforge.jobs import JobRunner
from optforge.language import load_rule
from optforge.report.search.course import read_course
from optforge.report.search.history import draw_history
from optforge.runs import Journal
from optforge.tasks import load_task
from optforge.training import trainee
from tests.helpers.searches import by_content, evaluation, invented_search, rows, small, state
from tests.helpers.tiny import Blobs, Sums

LARGER = Validator({"Larger": (1, 2, 3)}, share=0.5, cost=200.0)


def against_itself(job: Any) -> Any:
    """Verdicts out of thin air; the better a program, the worse it is on larger tasks."""
    if isinstance(job, Measure) and job.task == "Larger":
        quality = by_content(trainee(job.programs[0]).program)  # the same at all rates
        losses = [math.exp(-quality + 0.001 * seed) for seed in job.seeds]
        return [losses for _ in job.programs]
    return evaluation(by_content)(job)


def searched(path: Path, programs: int, answer: Any = against_itself, **changes: Any) -> History:
    settings: Settings = small(**{"seed": 4, "rescore_every": 1, **changes})
    exists = path.exists()
    journal = Journal.open(path, write=True) if exists else Journal.create(path, {})
    with journal:
        runner = JobRunner(InlineExecutor(lambda: answer), journal)
        search = invented_search(settings, runner, validator=LARGER)
        search.run(lambda history: history.tally.proposals >= programs)
    return search.history


def validation(at: int, loss: float, noise: float = 0.01, seed: int = 0) -> Validation:
    drawn = numpy.random.default_rng(seed).normal(loss, noise, 4)
    return Validation(str(at), "", at, -loss, {"a": tuple(drawn.tolist())})


def test_the_share_of_the_arithmetic_is_kept(tmp_path: Path) -> None:
    history = searched(tmp_path / "j.sqlite", 600)
    spent = len(history.validations) * LARGER.cost
    assert len(history.validations) >= 3
    assert spent <= LARGER.share * history.tally.steps
    few = searched(tmp_path / "none.sqlite", 600, restart="none")
    assert len({v.fingerprint for v in few.validations}) == len(few.validations)


def test_its_onset_restarts_from_the_best_on_larger_tasks(tmp_path: Path) -> None:
    history = searched(tmp_path / "j.sqlite", 1000)
    assert history.tally.overfitted >= 1
    with Journal.open(tmp_path / "j.sqlite", write=False) as journal:
        begun = [p for p in journal.proposals() if p.mutation == "restart: meta-overfitting"]
        course = read_course(journal)
        assert draw_history(journal)[:4] == b"\x89PNG"
    assert len(begun) >= 1
    first, _ = course.overfitted[0]
    best = next(v for v in history.validations if v.at == first)
    assert begun[0].program == best.text
    assert begun[0].number > first
    never = searched(tmp_path / "none.sqlite", 1000, restart="none")
    assert never.tally.overfitted >= 1 and never.tally.restarts == 0


@pytest.mark.parametrize("cut", [150, 510])
def test_a_resumed_search_validates_and_restarts_alike(tmp_path: Path, cut: int) -> None:
    whole = searched(tmp_path / "whole.sqlite", 800)
    searched(tmp_path / "cut.sqlite", cut)
    resumed = searched(tmp_path / "cut.sqlite", 800)
    assert rows(tmp_path / "cut.sqlite") == rows(tmp_path / "whole.sqlite")
    assert state(resumed) == state(whole)


def test_without_tasks_nothing_is_validated(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j.sqlite", {}) as journal:
        runner = JobRunner(InlineExecutor(lambda: against_itself), journal)
        search = invented_search(small(), runner)
        search.run(lambda history: history.tally.proposals >= 300)
        assert list(journal.events("validate")) == []


def test_an_onset_needs_three_that_are_certainly_worse() -> None:
    falling = [validation(n, 1.0 - n / 10, seed=n) for n in range(8)]
    assert onset(falling) is None
    turned = [*falling, *(validation(n, 0.4, seed=n) for n in (8, 9))]
    assert onset(turned) is None
    assert onset([*turned, validation(10, 0.4, seed=10)]) == falling[-1]
    assert onset([*turned, validation(10, math.inf)]) == falling[-1]


def test_noise_alone_is_seldom_an_onset() -> None:
    random = numpy.random.default_rng(1)
    found = 0
    for _ in range(200):
        points = [validation(n, 0.3, seed=int(random.integers(2**31))) for n in range(4)]
        found += onset(points) is not None
    assert found < 20


def test_ranges_end_where_the_onset_is_seen() -> None:
    losses = [0.5, 0.3, 0.6, 0.6, 0.6, 0.2, 0.5, 0.5, 0.5]
    points = [validation(10 * n, loss, seed=n) for n, loss in enumerate(losses)]
    assert overfitted_ranges(points) == [(10, 40), (50, 80)]


def test_a_rule_is_validated_at_three_rates_and_counted_so() -> None:
    assert len({rule.text for rule in rates(load_rule("adamw"))}) == 3
    small_task, large = load_task("mnist_mlp"), load_task("mnist_autoencoder")
    assert step_operations(large) > 5 * step_operations(small_task)
    cost = validation_cost([large], [small_task])
    ratio = step_operations(large) / step_operations(small_task)
    assert cost == pytest.approx(9 * large.steps * ratio)
    assert validation_cost([Blobs()], [Blobs(), Sums()]) > 0
