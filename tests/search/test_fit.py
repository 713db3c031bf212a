"""Constants are fitted to each task on validation data, as those of the baselines were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optforge.analysis.hyperparameters import lift
from optforge.execution import InlineExecutor
from optforge.fitness import Evaluator, Measure, seeds
from optforge.language import Program, load_rule, parse, rule_names
from optforge.runs import Journal
from optforge.search.fit import _Study, fit
from optforge.search.table import scaled
from optforge.training import Stack, train_population
from tests.helpers.tiny import Blobs, Sums

TASKS = (Blobs(), Sums())
NAMES = tuple(task.name for task in TASKS)
SGD = parse("def train(w, g, lr):\n    lr = lr * 0.05\n    u = g * lr\n    return u")


class Recording(InlineExecutor):
    """Remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(lambda: Evaluator(TASKS, (), {}, {}))
        self.asked: list[Measure] = []

    def submit(self, key: int, job: object) -> None:
        assert isinstance(job, Measure)
        self.asked.append(job)
        super().submit(key, job)


def loss(program: Program, task: Blobs | Sums) -> float:
    """On seeds that fitting does not see."""
    trained = train_population(Stack(task), [program], seeds(9, task.name, "other", 4))
    return float(trained.losses.log().mean())


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[Recording, list[dict[str, Program]]]:
    executor = Recording()
    with Journal.create(tmp_path / "journal", {}) as journal:
        return executor, fit(executor, journal, [SGD, load_rule("lion")], NAMES, 7, 24)


def test_each_task_gets_constants_that_are_better_on_other_seeds(
    fitted: tuple[Recording, list[dict[str, Program]]],
) -> None:
    executor, (sgd, lion) = fitted
    for task in TASKS:
        assert loss(sgd[task.name], task) < loss(SGD, task) - 0.02
        assert loss(lion[task.name], task) < loss(load_rule("lion"), task) - 0.02
        assert [s.function for s in sgd[task.name].statements] == ["multiply", "multiply"]
    assert {job.split for job in executor.asked} == {"validation"}
    for name in NAMES:
        used = {seed for job in executor.asked if job.task == name for seed in job.seeds}
        assert used == {*seeds(7, name, "fit", 3), *seeds(7, name, "fit again", 6)}
        assert not used & {*seeds(7, name, "report", 48), *seeds(7, name, "search", 6)}


def test_a_rule_that_nothing_improves_stays(tmp_path: Path) -> None:
    """One setting alone is tried: the rule as it is given."""
    with Journal.create(tmp_path / "journal", {}) as journal:
        ((found,), *_) = [
            list(of.values()) for of in fit(Recording(), journal, [SGD], NAMES[:1], 0, 1)
        ]
    assert found == SGD


@pytest.mark.parametrize("name", rule_names())
def test_settings_keep_signs_and_averages(name: str) -> None:
    study = _Study("any", lift(load_rule(name)))
    generator = np.random.default_rng(0)
    given = {n: d.low for n, d in study.space.items()}, {n: d.high for n, d in study.space.items()}
    drawn = [
        {
            n: float(np.exp(generator.uniform(np.log(d.low), np.log(d.high))))
            for n, d in study.space.items()
        }
        for _ in range(20)
    ]
    for params in (*given, *drawn):
        values = lift(study.program(params)).program
        assert len(values.statements) == len(study.lifted.program.statements)
        for before, after in zip(study.lifted.program.statements, values.statements, strict=True):
            assert (before.target, before.function) == (after.target, after.function)
            for old, new in zip(before.arguments, after.arguments, strict=True):
                if isinstance(old, float) and isinstance(new, float) and old != new:
                    assert old * new >= 0
                    assert not (before.function == "interp" and 0 < old < 1) or 0 <= new <= 1


def test_a_setting_can_give_the_rule_back() -> None:
    rule = scaled(load_rule("adamw"), 2.0)
    study = _Study("any", lift(rule))
    first = study.study.ask(dict(study.space))
    assert study.program(first.params).text == study.lifted.program.text
