"""Targets that are derived from the baseline, and studies of the time to reach one."""

from __future__ import annotations

from typing import Any

from optforge.comparison import (
    Cell,
    CellResult,
    CellTable,
    load_recipe,
)
from optforge.comparison.cells.runner import Runner
from optforge.comparison.protocol import derived_target
from optforge.comparison.result import TaskResult, TunedSetting
from optforge.comparison.studies import study
from tests.helpers.comparisons import few


def test_a_derived_target_is_the_median_and_waits_for_every_run() -> None:
    def run(loss: float) -> CellResult:
        return CellResult(
            steps=4, curve=((2, 9.0, 0.0, 0.0), (3, loss, 0.0, 0.0), (4, 0.1, 0.0, 0.0))
        )

    runs = [run(float(n)) for n in range(1, 11)]
    assert derived_target(runs) == 5.5
    assert derived_target([*runs, CellResult(failed="died")]) is None
    assert derived_target([]) is None


def test_studies_of_neighbouring_seeds_have_nothing_in_common() -> None:
    seen: list[list[Cell]] = []

    class Noting(Runner):
        def run(self, cells: Any, purpose: str) -> list[CellResult]:
            seen.append(list(cells))
            return [CellResult() for _ in cells]

    for seed in (0, 1):
        asked = few("adamw", studies=3, seed=seed)
        result = TaskResult(asked.variants[0], {"adamw": _empty()}, target=0.5)
        study(result, asked.tuned_recipes, asked.settings, Noting(asked.bench, CellTable(None)))
    settings = [{cell.setting for cell in cells} for cells in seen]
    assert len(settings[0]) == len(settings[1]) == 15 and settings[0].isdisjoint(settings[1])


def _empty() -> Any:
    return TunedSetting("adamw", load_recipe("adamw").space, (), (), None)
