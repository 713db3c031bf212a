"""The harness checks itself: no difference where there is none, and test data only at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from optforge.comparison import (
    Cell,
    CellResult,
    CellTable,
    Comparison,
    Findings,
    compare_pairs,
    load_recipe,
    run_comparison,
)
from optforge.comparison.cells.runner import Runner
from optforge.comparison.protocol import compare_on
from optforge.tuning import drawn_value
from tests.helpers.comparisons import Guarded, OtherTest, TouchedError, Watched, few, named
from tests.helpers.tiny import Blobs

TWIN = """
import torch

class Twin(torch.optim.AdamW):
    pass
"""


def run(comparison: Comparison, table: CellTable | None = None) -> Findings:
    table = CellTable(None) if table is None else table
    found, stopped = run_comparison(comparison, Runner(comparison.bench, table))
    assert not stopped
    return found


def test_the_same_optimizer_under_two_names_differs_by_exactly_nothing(tmp_path: Path) -> None:
    """The twin comes from a file, so that its runs have keys of their own and are computed."""
    (tmp_path / "twin.py").write_text(TWIN)
    adamw = load_recipe("adamw")
    twin = load_recipe("twin", f"{tmp_path}/twin.py:Twin", fixed={"fused": True})
    twin = named("adamw", "twin", source=twin.source)
    table = CellTable(None)
    found = run(few(adamw, twin), table)
    (pair,) = compare_pairs(found)
    assert pair.test_loss.mean == pair.test_loss.low == pair.test_loss.high == 0.0
    assert (pair.test_loss.p_value, pair.verdict) == (1.0, "too few seeds")
    one, other = found.tasks[0].tuned.values()
    assert one.best == other.best
    assert [o.test_loss for o in one.finals] == [o.test_loss for o in other.finals]
    alone = CellTable(None)
    run(few(adamw), alone)
    assert len(table) == 2 * len(alone) > 0  # nothing was answered from the other's cells


def test_a_known_worse_optimizer_is_found_worse() -> None:
    """The same AdamW, but its learning rate can only be far too small."""
    slow = load_recipe("slow", "adamw", space={"lr": [1e-6, 1e-5]})
    found = run(few("adamw", slow, seeds=10, extensions=0))
    (pair,) = compare_pairs(found)
    assert pair.verdict == "worse"
    assert pair.test_loss.low > 0.1


def test_the_order_of_the_optimizers_changes_no_figure() -> None:
    there, back = run(few("adamw", "sgd")), run(few("sgd", "adamw"))
    for name in ("adamw", "sgd"):
        one, other = there.tasks[0].tuned[name], back.tasks[0].tuned[name]
        assert one.best == other.best
        assert [o.test_loss for o in one.finals] == [o.test_loss for o in other.finals]


def test_every_optimizer_gets_the_same_number_of_trials() -> None:
    """Also where only one of them lies at an edge: all get as many further trials."""
    narrow = load_recipe("narrow", "adamw", space={"lr": [1e-4, 2e-4]})
    found = run(few("adamw", "lion", narrow, trials=16, extensions=2))
    counts = {name: len(of.trials) for name, of in found.tasks[0].tuned.items()}
    assert len(set(counts.values())) == 1 and counts["narrow"] > 16
    of = found.tasks[0].tuned["narrow"]
    assert "lr" in of.grown and of.space.dimensions[0].high > 2e-4
    beyond = [t for t in of.trials if t.round and drawn_value("lr", t.setting) > 2e-4]
    assert beyond


class Told(Runner):
    """Answers by a formula: the lowest rate wins the trials, the second one all further runs."""

    def run(self, cells: Sequence[Cell], purpose: str) -> list[CellResult]:
        rates = sorted({dict(cell.setting)["lr"] for cell in cells})
        places = [rates.index(dict(cell.setting)["lr"]) for cell in cells]
        again = purpose != "tuning"
        return [
            CellResult(loss=0.1 if again and p == 1 else 1.0 + p, test_loss=1.0) for p in places
        ]


def test_the_edge_that_is_told_is_that_of_the_chosen_setting() -> None:
    asked = few("adamw", trials=6, finalists=3, sampler="grid", tune=("lr",), extensions=0)
    runner = Told(asked.bench, CellTable(None))
    result = compare_on(asked.variants[0], asked.tuned_recipes, asked.settings, runner, "adamw")
    of = result.tuned["adamw"]
    best = min(of.trials, key=lambda trial: trial.outcomes[0].loss)
    assert of.space.edges(best.setting) == {"lr": -1}
    assert of.best == of.trials[1].setting and of.edges == ()


def test_final_seeds_were_never_seen_in_tuning() -> None:
    seen: dict[str, set[int]] = {}

    class Noting(CellTable):
        def add(self, key: str, cell: Cell, outcome: CellResult, purpose: str = "") -> None:
            seen.setdefault(purpose, set()).add(cell.seed)
            super().add(key, cell, outcome, purpose)

    run(few("adamw", "lion"), Noting(None))
    finals = seen.pop("measuring")
    assert len(finals) == 4
    assert finals.isdisjoint(set().union(*seen.values()))


def test_nothing_of_test_data_is_touched_before_the_end() -> None:
    comparison = few("adamw", "lion", task=Guarded())
    purposes: list[str] = []

    class Gated(Runner):
        def run(self, cells: Sequence[Cell], purpose: str) -> list[CellResult]:
            purposes.append(purpose)
            assert all(cell.test == (purpose == "measuring") for cell in cells)
            Watched.open = purpose == "measuring"
            return super().run(cells, purpose)

    with torch.no_grad(), pytest.raises(TouchedError):  # the guard does guard
        Guarded().splits.test.inputs + 1
    variant = comparison.variants[0]
    try:
        with Gated(comparison.bench, CellTable(None)) as runner:
            result = compare_on(
                variant, comparison.tuned_recipes, comparison.settings, runner, "adamw"
            )
    finally:
        Watched.open = False
    assert purposes[-1] == "measuring" and purposes.count("measuring") == 1
    assert all(o.test_loss > 0 for o in result.tuned["lion"].finals)


def test_other_test_data_changes_no_choice() -> None:
    one, other = (run(few("adamw", "lion", task=task)) for task in (Blobs(), OtherTest()))
    for name in ("adamw", "lion"):
        a, b = one.tasks[0].tuned[name], other.tasks[0].tuned[name]
        assert a.best == b.best
        assert [o.loss for o in a.finals] == [o.loss for o in b.finals]
        assert [o.test_loss for o in a.finals] != [o.test_loss for o in b.finals]
