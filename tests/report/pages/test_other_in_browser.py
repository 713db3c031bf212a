"""Pages of comparisons, funnels, simplifications and rules in Chromium: every control works."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optforge.report.pages.render import render
from optforge.report.pages.write import write_page
from tests.helpers.browsing import SAVED, controls, lines_of, new_tab, open_file, save
from tests.helpers.compared_page import compared, results, rows_of
from tests.helpers.other_pages import make_funnel, make_simplification
from tests.helpers.page_runs import HOSTILE, LION

FIGURES = ["differences", "curves", "rates", "coordinates", "trials", "maps"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, plots: Any) -> Path:
    del plots
    file = tmp_path_factory.mktemp("compared") / "page.html"
    file.write_text(render(compared()), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def page(browser: Any, file: Path) -> Iterator[Any]:
    """The page of a comparison, opened once; each test leaves the figures of the others alone."""
    with new_tab(browser) as opened:
        yield open_file(opened, file)


def test_every_control_of_a_comparison_works(page: Any) -> None:
    names = page.locator("[data-figure]").evaluate_all("all => all.map(e => e.dataset.figure)")
    assert names == FIGURES
    assert controls(page) == {"a", "select", "input", "button copy", "button save", "button theme"}
    assert page.locator("#figure-differences option").all_inner_texts().count(HOSTILE) == 1
    page.select_option("#figure-differences select >> nth=1", HOSTILE)
    page.wait_for_function("views.differences.signal('chosen_name') !== 'all'")
    task = page.locator("#figure-differences option").nth(1).inner_text()
    page.select_option("#figure-differences select >> nth=0", task)
    page.wait_for_function("views.differences.signal('chosen_task') !== 'all'")
    assert page.evaluate("views.differences.data('data_0').map(d => d.name)") == [HOSTILE]
    other = page.locator("#figure-maps option").all_inner_texts()[1]
    page.select_option("#figure-maps select", other)
    page.wait_for_function(f"views.maps.signal('chosen_map') === {json.dumps(other)}")
    assert set(page.evaluate("views.maps.data('data_0').map(d => d.map)")) == {other}
    for name in ("curves", "rates", "trials"):
        task, optimizer = page.locator(f"#figure-{name} select").all()
        assert task.locator("option").count() == 1
        optimizer.select_option(HOSTILE)
        page.wait_for_function(f"views.{name}.signal('chosen_optimizer') !== 'all'")
        shown = page.evaluate(f"views.{name}.data('data_0').map(d => d.optimizer)")
        assert set(shown) == {HOSTILE}


@pytest.mark.parametrize("figures", [FIGURES[:3], FIGURES[3:]])
def test_data_and_pictures_of_a_comparison_are_saved(
    tab: Any, file: Path, figures: list[str]
) -> None:
    open_file(tab, file)
    for name in figures:
        for kind, begin in SAVED.items():
            content = save(tab, name, kind)
            assert content.startswith(begin)
            if kind == "csv":
                assert content.count(b"\r\n") == 1 + len(rows_of(compared(), name))


def test_parallel_coordinates_show_the_chosen_optimizer_and_its_best_trials(page: Any) -> None:
    trials = [t.tuned for t in results()[1].tasks][0]
    assert lines_of(page, "coordinates") == len(trials["adamw"].trials)
    page.select_option("#figure-coordinates select >> nth=1", HOSTILE)
    page.wait_for_function("views.coordinates.signal('chosen_optimizer') !== 'adamw'")
    assert lines_of(page, "coordinates") == len(trials[HOSTILE].trials)
    page.locator("#figure-coordinates input[type=range]").fill("50")
    page.wait_for_function("views.coordinates.signal('best_share') === 50")
    assert lines_of(page, "coordinates") == sum(
        row["rank"] is not None and row["rank"] <= 50
        for row in rows_of(compared(), "coordinates")
        if row["optimizer"] == HOSTILE
    )


def test_a_funnel_and_a_simplification_work_offline(tab: Any, tmp_path: Path) -> None:
    simple = make_simplification(tmp_path / "simple", "signum")  # a short derivation is made fast
    for path in (make_funnel(tmp_path / "funnel"), simple):
        page = open_file(tab, write_page(path))
        assert page.locator(".plot canvas").count() == 1
        step = page.locator("details").first
        step.locator("summary").press("Enter")
        assert step.get_attribute("open") is not None
        if path.name == "funnel":
            page.select_option("#figure-stages select", "second")
            page.wait_for_function("views.stages.data('data_0').length === 1")


def test_the_card_of_a_rule_works_offline(tab: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"# {HOSTILE}\n{LION.text}")
    page = open_file(tab, write_page(file))
    assert HOSTILE in page.locator("#summary").inner_text()
    assert page.locator("#figure-update canvas").count() == 1
    rows = list(csv.reader(io.StringIO(save(page, "update", "csv").decode(), newline="")))
    assert rows[0] == ["gradient", "state", "update"] and len(rows) == 1 + 61 * 61
