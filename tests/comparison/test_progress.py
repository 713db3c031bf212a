"""A plan counts the runs that can come, and its bar ends at its end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from optforge.comparison import (
    CellTable,
    ComparisonSettings,
    load_recipe,
)
from optforge.comparison.cells.runner import Runner
from optforge.comparison.comparison import expected, run_comparison
from optforge.comparison.cost import counts
from tests.helpers.comparisons import few


def test_a_plan_counts_no_more_than_can_come() -> None:
    settings = ComparisonSettings(
        trials=2, extensions=0, finalists=3, again=2, heat_map=(5, 4), sweep_seeds=1
    )
    adamw, rates = load_recipe("adamw"), load_recipe("adamw").tuning(("lr",))
    assert counts(settings, adamw) == (2 + 2 * 2, 10, 20)
    assert counts(settings, rates) == (2 + 2 * 2, 10, 5)


class Bad(torch.optim.SGD):
    """Diverges always."""

    def step(self, closure: Any = None) -> Any:
        for p in self.param_groups[0]["params"]:
            p.data.fill_(math.nan)


def test_the_bar_ends_at_its_end_where_nothing_could_be_chosen() -> None:
    bad = load_recipe("bad", Bad, space={"lr": [0.01, 0.1]})
    asked = few(bad, trials=2, seeds=2, sensitivity=2, heat_map=(2, 2), studies=1, extensions=0)
    progress = expected(asked, 0)
    run_comparison(
        asked, Runner(asked.bench, CellTable(None)), progress=progress, before_first=lambda: None
    )
    assert progress.done == progress.total == 2


def test_the_bar_ends_at_its_end_where_less_was_needed_than_could_be() -> None:
    asked = few("adamw", "sgd", trials=2, seeds=2, finalists=9, extra=2, heat_map=(2, 1))
    progress = expected(asked, 0)
    run_comparison(
        asked, Runner(asked.bench, CellTable(None)), progress=progress, before_first=lambda: None
    )
    assert progress.done == progress.total
    assert progress.total == sum(share.cells for share in progress.shares.values())


def test_what_the_table_has_takes_no_time(tmp_path: Path) -> None:
    """Also before its turn comes: the runs of another optimizer on a later task."""
    few_runs: dict[str, Any] = {"trials": 2, "seeds": 2, "extensions": 0, "heat_map": (0, 0)}
    first, both = few("sgd", **few_runs), few("adamw", "sgd", **few_runs)
    with CellTable(tmp_path / "cells.jsonl") as table:
        run_comparison(first, Runner(first.bench, table), before_first=lambda: None)
        known = len(table)
    progress, left = expected(both, 0), list[float]()
    with CellTable(tmp_path / "cells.jsonl") as table:
        runner = Runner(both.bench, table)
        run_comparison(
            both, runner, progress=progress, before_first=lambda: left.append(progress.seconds_left)
        )
    assert left == [progress.total - known]  # a second each, as nothing was timed


def test_lines_of_joined_tables_count_once(tmp_path: Path) -> None:
    file, asked = tmp_path / "cells.jsonl", few("sgd", trials=2, seeds=2, extensions=0)
    with CellTable(file) as table:
        run_comparison(asked, Runner(asked.bench, table), before_first=lambda: None)
        known = len(table)
    file.write_text(2 * file.read_text())
    (task,) = (variant.label for variant in asked.variants)
    with CellTable(file) as table:
        assert table.count(task, "sgd") == len(table) == known
