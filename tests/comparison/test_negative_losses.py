"""Losses without a logarithm are refused, as soon as one is seen."""

from __future__ import annotations

import pytest
from torch import Tensor

from optforge.comparison import Cell, CellResult, CellTable, load_recipe, vary
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.train import run_cell
from optforge.comparison.comparison import check, run_comparison
from optforge.errors import CompareError
from tests.helpers.comparisons import few
from tests.helpers.tiny import Blobs


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
        run_comparison(asked, Runner(asked.bench, table))
    assert len(table) < asked.settings.trials


def test_negative_losses_of_older_tables_are_refused_as_well() -> None:
    asked, table = few("adamw"), CellTable(None)
    one = Cell("Blobs", "adamw", (("lr", 0.1),), 0)
    table.add(asked.bench.key(one), one, CellResult(loss=-2.0))
    with Runner(asked.bench, table) as runner, pytest.raises(CompareError, match="above 0"):
        runner.run([one], "tuning")


def test_a_negative_training_loss_that_falls_has_not_diverged() -> None:
    task = BelowZero()
    cell = Cell(task.name, "sgd", (("lr", 0.05),), 3)
    outcome = run_cell(vary(task, {}), load_recipe("sgd"), cell)
    assert outcome.train_loss < -3.9 and not outcome.diverged
