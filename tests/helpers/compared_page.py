"""The page of a small comparison whose names hold markup."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from optforge.comparison import CellTable, Findings, Runner, run_comparison
from optforge.comparison.comparison import Comparison
from optforge.report.pages.blocks import Page
from optforge.report.pages.comparison import comparison_page
from optforge.report.pages.render import page_data
from tests.helpers.comparisons import few, named
from tests.helpers.page_runs import HOSTILE


@cache
def results() -> tuple[Comparison, Findings]:
    made = few("adamw", named("lion", HOSTILE), seeds=3, trials=4, sensitivity=3, heat_map=(2, 2))
    comparison = replace(made, title=HOSTILE, claim=HOSTILE)
    findings, stopped = run_comparison(comparison, Runner(comparison.bench, CellTable(None)))
    assert not stopped
    return comparison, findings


def compared() -> Page:
    comparison, findings = results()
    return comparison_page(comparison, findings, [{"torch": HOSTILE}], Path("results/<b>"))


def rows_of(page: Page, figure: str) -> list[dict[str, Any]]:
    """The data of a figure as a page holds it."""
    data = page_data(page)["figures"][figure]
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]
