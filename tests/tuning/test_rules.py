"""Constants are fitted to each task on validation data, as those of the baselines were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optforge.analysis.hyperparameters import lift
from optforge.assessment.table import scaled
from optforge.execution import InlineExecutor
from optforge.fitness import Evaluator, Measure, seeds
from optforge.language import Program, load_rule, parse, round_constants, rule_names
from optforge.runs import Journal
from optforge.tasks import Schedule
from optforge.training import ProgramOrTrainee, Stack, Trainee, train_population
from optforge.tuning import (
    PLAIN_SHAPE,
    SEARCH_SHAPE,
    Dimension,
    Effort,
    Tunable,
    fittable,
    losses_by,
    shape_setting,
    tune_together,
)
from tests.helpers.tiny import Blobs, Sums
from tests.helpers.training import trainer_on

TASKS = (Blobs(), Sums())
NAMES = tuple(task.name for task in TASKS)
SGD = parse("def train(w, g, lr):\n    lr = lr * 0.05\n    u = g * lr\n    return u")
PLAIN = Schedule(0.1, 1.0, 0.0)
OTHER = shape_setting(Schedule(0.25, 0.5, 0.125))


class Recording(InlineExecutor):
    """Remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(lambda: Evaluator(TASKS))
        self.asked: list[Measure] = []

    def submit(self, key: int, job: object) -> None:
        assert isinstance(job, Measure)
        self.asked.append(job)
        super().submit(key, job)


def fit(
    path: Path, executor: Recording, some: list[Tunable], tasks: tuple[str, ...], trials: int
) -> list[dict[str, Trainee]]:
    """Tune each on each task, on the workers of a run with seed 7."""
    with Journal.create(path / "journal", {}) as journal:
        jobs = [(one, [task]) for one in some for task in tasks]
        found = iter(
            tune_together(
                jobs, losses_by(trainer_on(executor, journal, 7), "fit, "), Effort(trials)
            )
        )
        return [{task: next(found).trainee for task in tasks} for _ in some]


def loss(candidate: ProgramOrTrainee, task: Blobs | Sums) -> float:
    """On seeds that fitting does not see."""
    trained = train_population(Stack(task), [candidate], seeds(9, task.name, "other", 4))
    return float(trained.losses.log().mean())


def test_each_task_gets_constants_that_are_better_on_other_seeds(tmp_path: Path) -> None:
    executor, rules = Recording(), [SGD, load_rule("lion")]
    sgd, lion = fit(tmp_path, executor, [fittable(rule) for rule in rules], NAMES, 24)
    for task in TASKS:
        assert loss(sgd[task.name], task) < loss(SGD, task) - 0.02
        assert loss(lion[task.name], task) < loss(load_rule("lion"), task) - 0.02
        functions = [s.function for s in sgd[task.name].program.statements]
        assert functions == ["multiply", "multiply"]
    assert {job.split for job in executor.asked} == {"validation"}
    for name in NAMES:
        used = {seed for job in executor.asked if job.task == name for seed in job.seeds}
        assert used == {*seeds(7, name, "fit, tune", 3), *seeds(7, name, "fit, tune again", 12)}
        assert not used & {*seeds(7, name, "report", 48), *seeds(7, name, "search", 6)}


def test_a_rule_that_nothing_improves_stays(tmp_path: Path) -> None:
    """One setting alone is tried: the rule as it is given, under the plain schedule."""
    ((found,), *_) = [
        list(of.values()) for of in fit(tmp_path, Recording(), [fittable(SGD)], NAMES[:1], 1)
    ]
    assert found == Trainee(SGD, PLAIN)


def build(candidate: Tunable, values: dict[str, float]) -> Program:
    return candidate.build(tuple(values.items())).program


@pytest.mark.parametrize("name", rule_names())
def test_settings_keep_signs_and_averages(name: str) -> None:
    candidate, lifted = fittable(load_rule(name)), lift(load_rule(name))
    generator = np.random.default_rng(0)
    space: dict[str, Dimension] = {d.name: d for d in candidate.space.dimensions}

    given = {n: d.low for n, d in space.items()}, {n: d.high for n, d in space.items()}
    drawn = [{n: d.value(generator.uniform()) for n, d in space.items()} for _ in range(20)]
    for params in (*given, *drawn):
        values = lift(build(candidate, params)).program
        assert len(values.statements) == len(lifted.program.statements)
        for before, after in zip(lifted.program.statements, values.statements, strict=True):
            assert (before.target, before.function) == (after.target, after.function)
            for old, new in zip(before.arguments, after.arguments, strict=True):
                if isinstance(old, float) and isinstance(new, float) and old != new:
                    assert old * new >= 0
                    assert not (before.function == "interp" and 0 < old < 1) or 0 <= new <= 1


@pytest.mark.parametrize("name", rule_names())
def test_every_rule_can_be_tuned_and_its_own_setting_comes_first(name: str) -> None:
    """Whatever its constants are called; under each schedule that it is known to train with."""
    rule = round_constants(load_rule(name))
    candidate = fittable(rule, (OTHER, PLAIN_SHAPE))
    asked: list[Trainee] = []

    def losses(candidates: Any, purpose: str, count: int) -> dict[str, np.ndarray]:
        asked.extend(candidates["any"])
        return {"any": np.zeros((len(candidates["any"]), count))}

    (found,) = tune_together([(candidate, ["any"])], losses, Effort(4))
    lean = lift(rule).program
    first = [Trainee(lean, Schedule(0.25, 0.5, 0.125)), Trainee(lean, PLAIN)]
    assert asked[4:6] == first and found.trainee == first[0]
    for one, other in zip(asked[:2], first, strict=True):
        assert one.schedule == other.schedule
        for s, t in zip(one.program.statements, other.program.statements, strict=True):
            numbers = [(a, b) for a, b in zip(s.arguments, t.arguments, strict=True) if a != b]
            # A memory outside of 0 to 1 has nothing to draw; others lose the last of six digits.
            assert all(float(a) == pytest.approx(float(b), rel=1e-5) for a, b in numbers)
    assert len({*asked[2:4], *first}) == 4, "the others differ"


def test_schedule_and_what_practitioners_tune_is_tuned() -> None:
    space = fittable(load_rule("adamw")).space
    constants = {name for name in space.names if name.startswith("rule_")}
    assert constants == {"rule_lr", "rule_beta1", "rule_beta2", "rule_weight_decay"}
    assert space.dimensions[-3:] == SEARCH_SHAPE and len(space.names) == 7


def test_a_setting_can_give_the_rule_back() -> None:
    rule = scaled(load_rule("adamw"), 2.0)
    candidate = fittable(rule)
    (given,) = candidate.known
    assert candidate.build(given) == Trainee(lift(rule).program, PLAIN)
