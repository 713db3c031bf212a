"""The page of a small comparison whose names hold markup."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from optforge.comparison import CellTable, Findings, Runner, run_comparison
from optforge.comparison.comparison import Comparison
from optforge.report.pages.blocks import Page
from optforge.report.pages.comparison import comparison_page
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
