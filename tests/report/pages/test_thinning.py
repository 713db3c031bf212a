"""A page's data stays small, however many trials and steps a comparison has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optforge.comparison.result import CellResult, Trial
from optforge.report.pages.blocks import Page, Section
from optforge.report.pages.comparison_figures import comparison_figures
from optforge.report.pages.figures import thinned
from optforge.report.pages.render import json_for_script, page_data
from tests.report.test_comparison_report import SETTING, along, run


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100, 1001])
def test_thinned_points_are_few_even_and_end_with_the_last(count: int) -> None:
    points = thinned(range(count), 8)
    assert len(points) <= 8 and list(points[-1:]) == list(range(count))[-1:]
    assert len({b - a for a, b in zip(points, points[1:], strict=False)}) <= 1
    if count <= 7:
        assert list(points) == list(range(count))


def test_the_data_of_a_large_comparison_is_below_two_megabytes() -> None:
    curve = tuple((float(step), 0.5 + 1 / (1 + step), 0.5) for step in range(1200))
    long = [replace(run(loss), curve=curve) for loss in (0.5, 0.52, 0.55)]
    found = along([{"adamw": long, "b": long} for _ in range(12)])
    trials = tuple(Trial(SETTING, (CellResult(loss=0.5 + n / 1000),)) for n in range(400))
    tasks = tuple(
        replace(task, tuned={n: replace(t, trials=trials) for n, t in task.tuned.items()})
        for task in found.tasks
    )
    figures = tuple(comparison_figures(replace(found, tasks=tasks)))
    rows = {figure.name: len(figure.rows) for figure in figures}
    assert rows.keys() >= {"curves", "rates", "coordinates", "trials"}
    assert all(1000 < rows[name] <= 8100 for name in ("curves", "rates", "coordinates", "trials"))
    curves = next(figure for figure in figures if figure.name == "curves")
    assert max(row["step"] for row in curves.rows) == 1199
    data = json_for_script(page_data(Page("large", "", (Section("figures", "Figures", figures),))))
    assert len(data) < 2e6
