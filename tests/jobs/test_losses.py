"""Measurements: what ends its worker, or has no loss above 0, is the worst and harms nobody."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optforge.execution import InlineExecutor
from optforge.fitness import Measure
from optforge.language import Program, load_rule, parse
from optforge.runs import Journal
from tests.helpers.killed import Mortal, MortalMeasurements, deadly
from tests.helpers.searches import by_content, pretend, rows, small, state
from tests.helpers.training import trainer_on

RULES = [load_rule(name) for name in ("adamw", "lion", "signum", "momentum_sgd")]
DYING = parse("def train(w, g, lr):\n    u = tanh(g)\n    return u")
HANGING = parse("def train(w, g, lr):\n    u = exp(g)\n    u = u * g\n    return u")
SEEDS = {"one": tuple(range(5)), "two": (7, 8)}


def losses(job: Any) -> list[list[float]]:
    """A loss for each program and seed; empty jobs of other kinds get an empty answer."""
    if not isinstance(job, Measure):
        return []
    return [[len(p.statements) + s / 10 + (job.task == "two") for s in job.seeds]
            for p in job.programs]  # fmt: skip


def measured(path: Path, programs: list[Program]) -> tuple[dict[str, np.ndarray], list[Any]]:
    with Journal.create(path, {}) as journal:
        executor = Mortal(lambda: losses)
        found = trainer_on(executor, journal).losses(dict.fromkeys(SEEDS, programs), SEEDS, "test")
        return found, list(journal.events())


def test_a_program_that_ends_its_worker_is_infinitely_bad_and_alone_is_so(tmp_path: Path) -> None:
    programs = [RULES[0], DYING, *RULES[1:], HANGING]
    found, events = measured(tmp_path / "journal", programs)
    quiet, none = measured(tmp_path / "quiet", RULES)
    assert not none
    for task, logs in found.items():
        assert logs.shape == (len(programs), len(SEEDS[task]))
        assert (logs[[1, 5]] == math.inf).all()
        np.testing.assert_array_equal(logs[[0, 2, 3, 4]], quiet[task])
        expected = [[len(p.statements) + s / 10 + (task == "two") for s in SEEDS[task]]
                    for p in RULES]  # fmt: skip
        np.testing.assert_allclose(quiet[task], np.log(expected))
    killers = [(e.detail["place"], e.detail["program"]) for e in events if e.kind == "killer"]
    # Two jobs of the first task, one of the second.
    assert sorted(killers) == [(place, part) for place in (1, 2, 3) for part in (1, 5)]
    kinds = {e.kind for e in events}
    assert kinds == {"killer", "timeout", "worker_death"}, "the reason is on record"


def test_a_job_of_nothing_but_culprits_comes_to_an_end(tmp_path: Path) -> None:
    found, events = measured(tmp_path / "journal", [DYING])
    assert all((logs == math.inf).all() for logs in found.values())
    assert sum(e.kind == "killer" for e in events) == 3


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_no_loss_is_the_worst_and_not_the_best(tmp_path: Path, value: float) -> None:
    """The logarithm of 0 would be the best there is."""
    with Journal.create(tmp_path / "journal", {}) as journal:
        executor = InlineExecutor(lambda: lambda job: [[value, 1.0]])
        found = trainer_on(executor, journal).losses({"one": [RULES[0]]}, {"one": (0, 1)}, "test")
    assert found["one"].tolist() == [[math.inf, 0.0]]


@pytest.mark.parametrize(
    ("seeds", "shapes"),
    [
        (range(1), [(4, 1), (1, 1)]),
        (range(4), [(2, 2), (2, 2), (2, 2), (2, 2), (1, 2), (1, 2)]),
        (range(3), [(2, 2), (2, 1), (2, 2), (2, 1), (1, 2), (1, 1)]),
    ],
)
def test_small_jobs_have_as_many_trainings_as_rows(
    seeds: range, shapes: list[tuple[int, int]]
) -> None:
    """Of five programs; a compiled kernel has four rows, filled or not."""
    jobs: list[Measure] = []

    def record(job: Measure) -> list[list[float]]:
        jobs.append(job)
        return losses(job)

    trainer = replace(trainer_on(InlineExecutor(lambda: record)), slow={"one": 4})
    found = trainer.losses({"one": [*RULES, DYING]}, {"one": seeds}, "test")
    assert [(len(job.programs), len(job.seeds)) for job in jobs] == shapes
    expected = [[len(p.statements) + s / 10 for s in seeds] for p in (*RULES, DYING)]
    np.testing.assert_allclose(found["one"], np.log(expected))


def test_leaders_that_fail_on_fresh_seeds_lead_no_more(tmp_path: Path) -> None:
    """The search goes on, and forgets nothing of it when it is read again."""
    settings = small(rescore_every=1, insert=3.0)
    path = tmp_path / "journal"
    search = pretend(path, settings, 400, quality, MortalMeasurements)
    with Journal.open(path, write=False) as journal:
        rescored = {e.detail["fingerprint"]: e.detail["fitness"] for e in journal.events("rescore")}
        killers = list(journal.events("killer"))
    of = {p.fingerprint: parse(p.program) for p in rows(path)["proposals"]}
    failed = [value for value in rescored if rescored[value] == math.inf]
    assert failed and all(deadly(of[value]) for value in failed)
    assert {value for value in rescored if deadly(of[value])} == set(failed)
    assert len(killers) >= len(failed) and all(e.detail["place"] == 1 for e in killers)
    history = search.history
    assert not {c.fingerprint for c in history.best} & set(failed)
    incumbent = history.incumbent(history.phase)
    assert incumbent is not None and incumbent.fingerprint not in failed
    again = pretend(path, settings, 400, quality, MortalMeasurements)
    assert state(again.history) == state(history)


def quality(program: Program) -> float:
    """The deadly look best."""
    return by_content(program) - deadly(program)
