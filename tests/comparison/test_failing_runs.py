"""Runs in which an optimizer raises, and what an optimizer draws at random."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optforge.comparison import Cell, CellResult, CellTable, load_recipe, vary
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.train import run_cell
from optforge.comparison.comparison import run_comparison
from optforge.comparison.cost import estimate
from optforge.errors import CompareError
from optforge.tasks import Task
from tests.helpers.comparisons import few
from tests.helpers.displays import Heard
from tests.helpers.tiny import Blobs

FEW: dict[str, Any] = {"trials": 2, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0}


class Strict(torch.optim.SGD):
    """Raises on gradients that are not finite, as linear algebra does."""

    def step(self, closure: Any = None) -> Any:
        for p in self.param_groups[0]["params"]:
            if not torch.isfinite(p.grad).all():
                raise ValueError("eigenvalues of NaN")
        return super().step(closure)


class Tired(torch.optim.SGD):
    """Raises after some steps, with finite numbers."""

    stamina = 7

    def step(self, closure: Any = None) -> Any:
        self.made = getattr(self, "made", 0) + 1
        if self.made > self.stamina:
            raise ValueError(f"tired after {self.made} steps")
        return super().step(closure)


class Refusing(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        raise ValueError("no first step")


class Drawing(torch.optim.SGD):
    """Noise from three generators."""

    def step(self, closure: Any = None) -> Any:
        for p in self.param_groups[0]["params"]:
            p.grad.add_(torch.randn_like(p) + random.random() + np.random.rand())
        return super().step(closure)


class Picky(Blobs):
    """Its metric takes no NaN."""

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        if not torch.isfinite(output).all():
            raise ValueError("Input contains NaN")
        return super().metric(output, targets)


class Exploding(Strict):
    def step(self, closure: Any = None) -> Any:
        made = super().step(closure)
        for p in self.param_groups[0]["params"]:
            p.data.mul_(1e30)
        return made


def cell(task: Task, lr: float = 0.05, **changes: Any) -> Cell:
    return Cell(task.name, "o", (("lr", lr),), 3, **changes)


def recipe(kind: type[torch.optim.Optimizer], name: str = "o") -> Any:
    return load_recipe(name, kind, space={"lr": [0.01, 0.1]})


def run(kind: type[torch.optim.Optimizer], task: Task | None = None, **changes: Any) -> CellResult:
    task = task or Blobs()
    return run_cell(vary(task, {}), recipe(kind), cell(task, **changes))


def test_an_optimizer_that_raises_when_numbers_are_not_finite_has_diverged() -> None:
    found = run(Strict, lr=1e38)
    assert found.diverged and not found.failed and 0 < found.steps < Blobs.steps


def test_a_metric_that_raises_at_the_end_of_a_run_that_diverged_decides_nothing_else() -> None:
    task = Picky()
    task.steps = 1
    found = run_cell(vary(task, {}), recipe(Exploding), cell(task, lr=1e38))
    assert found.diverged and not found.failed


def test_a_run_that_raises_with_finite_numbers_has_no_result_and_a_reason() -> None:
    found = run(Tired)
    assert (found.failed, found.steps) == ("ValueError: tired after 8 steps", 7)
    assert not found.diverged


def test_an_error_in_the_first_step_is_raised() -> None:
    with pytest.raises(ValueError, match="no first step"):
        run(Refusing)


def test_a_comparison_goes_on_without_a_recipe_that_fails_and_tries_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard, table = Heard(), CellTable(None)
    tired = load_recipe("tired", Tired, space={"lr": [0.01, 0.1]})
    asked = few("adamw", tired, **FEW)
    found, stopped = run_comparison(asked, Runner(asked.bench, table, watch=heard))
    adamw, other = found.tasks[0].tuned.values()
    assert not stopped and len(adamw.finals) == 2
    assert (other.best, other.failed_trials, other.diverged_trials) == (None, 2, 0)
    (told,) = [text for text in heard.said if "left out" in text]
    assert "tired after" in told and "--resume" in told
    count = len(table)
    monkeypatch.setattr(Tired, "stamina", 1000)
    found, _ = run_comparison(asked, Runner(asked.bench, table))
    assert len(found.tasks[0].tuned["tired"].finals) == 2 and len(table) == count + 4


def test_what_an_optimizer_draws_is_seeded_and_leaves_no_trace() -> None:
    def state() -> list[Any]:
        return [
            torch.get_rng_state().tolist(),
            random.getstate(),
            pickle.dumps(np.random.get_state()),
        ]

    before = state()
    first = run(Drawing).loss
    assert state() == before
    _ = torch.rand(3), random.random(), np.random.rand()
    assert run(Drawing).loss == first
    assert run(Drawing, curve=True).loss == first


class FailsLater(Blobs):
    """Its metric holds for the check before the work, and fails while the cost is measured."""

    calls = 0

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        type(self).calls += 1
        if self.calls > 5:
            raise RuntimeError("no more")
        return super().metric(output, targets)


def test_a_task_that_fails_while_its_cost_is_measured_is_a_sentence() -> None:
    comparison = few("adamw", task=FailsLater())
    with pytest.raises(CompareError, match="cannot be trained on FailsLater: RuntimeError: no mor"):
        for _ in range(6):
            estimate(comparison.variants, comparison.recipes, comparison.settings)


@dataclass(frozen=True)
class FrozenTask(Blobs):
    width: int = 8


class ComputedSteps(Blobs):
    @property
    def steps(self) -> int:  # type: ignore[override]
        return 20


def test_attributes_that_cannot_be_set_are_set_or_told() -> None:
    """Both ended a comparison with code 70, since the measurement of its cost takes fewer steps."""
    assert vary(FrozenTask(), {"steps": 3}).task.steps == 3
    with pytest.raises(CompareError, match="steps of task 'ComputedSteps' cannot be set"):
        vary(ComputedSteps(), {"steps": 3})
