"""Runs in which something raises or draws random numbers, and losses without a logarithm."""

from __future__ import annotations

import importlib
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optforge.comparison import Cell, CellResult, CellTable, Comparison, load_recipe, variants, vary
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.train import run_cell
from optforge.comparison.comparison import check, run_comparison
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
    found, stopped = run_comparison(asked, table, watch=heard)
    adamw, other = found.tasks[0].tuned.values()
    assert not stopped and len(adamw.finals) == 2
    assert (other.best, other.failed_trials, other.diverged_trials) == (None, 2, 0)
    (told,) = [text for text in heard.said if "left out" in text]
    assert "tired after" in told and "--resume" in told
    count = len(table)
    monkeypatch.setattr(Tired, "stamina", 1000)
    found, _ = run_comparison(asked, table)
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


class Negative(Blobs):
    """Below zero once something is learned."""

    name = "Negative"

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return super().loss(output, targets) - 1.0


class BelowZero(Blobs):
    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return super().loss(output, targets) - 5.0


def test_a_first_loss_below_zero_is_refused_before_anything_runs() -> None:
    with pytest.raises(CompareError, match=r"first batch of BelowZero is -.*plus a constant"):
        check(few("adamw", task=BelowZero()))


def test_a_loss_that_falls_below_zero_ends_the_comparison_at_its_first_run() -> None:
    asked, table = few("adamw", task=Negative()), CellTable(None)
    with pytest.raises(CompareError, match="validation loss of adamw.*of Negative is -"):
        run_comparison(asked, table)
    assert len(table) < asked.settings.trials


def test_negative_losses_of_older_tables_are_refused_as_well() -> None:
    asked, table = few("adamw"), CellTable(None)
    one = Cell("Blobs", "adamw", (("lr", 0.1),), 0)
    table.add(asked.bench.key(one), one, CellResult(loss=-2.0))
    with Runner(asked.bench, table) as runner, pytest.raises(CompareError, match="above 0"):
        runner.run([one], "tuning")


def test_a_negative_training_loss_that_falls_has_not_diverged() -> None:
    task = BelowZero()
    found = run_cell(vary(task, {}), recipe(torch.optim.SGD), cell(task))
    assert found.train_loss < -3.9 and not found.diverged


def test_a_setting_that_is_refused_is_told_when_costs_are_measured() -> None:
    asked = few(load_recipe("o", Refusing, space={"lr": [0.01, 0.1]}))
    with pytest.raises(CompareError, match=r"o \(lr=.*cannot be trained on Blobs: .*no first step"):
        asked.plan()


class Raising(torch.optim.SGD):
    def __init__(self, params: Any, lr: float) -> None:
        raise IndexError("tuple index out of range")


def test_an_optimizer_that_cannot_be_made_is_refused_with_advice() -> None:
    with pytest.raises(CompareError, match="cannot be compared on Blobs: .*tuple index.*leave it"):
        check(few(recipe(Raising)))


class Widths(Blobs):
    width = 4

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, self.width), nn.Tanh(), nn.Linear(self.width, 3))


class OnlyNarrow(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        if any(p.numel() > 40 for p in self.param_groups[0]["params"]):
            raise ValueError("too wide")
        return super().step(closure)


def test_every_set_of_shapes_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = variants([Widths()], {"width": [4, 4 * 4], "batch_size": [8, 16]}, {})
    made = few(recipe(OnlyNarrow))
    with pytest.raises(CompareError, match="too wide"):
        check(Comparison(asked, made.recipes, made.settings))
    tried: list[str] = []
    module = importlib.import_module("optforge.comparison.comparison")
    monkeypatch.setattr(module, "check_recipe", lambda variant, *_: tried.append(variant.label))
    check(Comparison(asked, made.recipes, made.settings))
    assert tried == ["Widths[width=4,batch_size=8]", "Widths[width=16,batch_size=8]"]
