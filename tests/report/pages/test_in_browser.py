"""Pages in Chromium, without a network: every control does its work, the console stays empty."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.report.pages.blocks import Page, Section
from optforge.report.pages.render import page_data, render
from optforge.report.pages.run_data import read_run
from optforge.report.pages.search import search_page
from optforge.report.pages.table_figures import contenders, single_differences
from optforge.report.pages.write import write_page
from tests.helpers.browsing import click_on, lines_of, open_file
from tests.helpers.compared_page import compared, results, rows_of
from tests.helpers.other_pages import make_funnel, make_simplification
from tests.helpers.page_runs import HOSTILE, LION, finish_run, make_run, make_table

FIGURES = ["progress", "contenders", "seeds", "pareto", "stages", "known"]
_ROW = "(([figure, ...names]) => { const { columns, rows } = data.figures[figure]; "
_ROW += "return names.map((name) => rows[0][columns.indexOf(name)]); })"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plots: Any) -> Path:
    del plots
    path = make_run(tmp_path_factory.mktemp("page") / "run")
    finish_run(path)
    write_page(path)
    return path


@pytest.fixture
def page(tab: Any, run: Path) -> Any:
    return open_file(tab, run / "report.html")


def test_all_figures_are_drawn_and_names_are_text(page: Any) -> None:
    drawn = page.locator(".plot canvas")
    assert drawn.count() == len(FIGURES)
    assert all(drawn.nth(n).bounding_box()["width"] > 300 for n in range(len(FIGURES)))
    assert HOSTILE in page.locator("#table").inner_text()
    assert page.locator("#figure-contenders option").all_inner_texts()[-1] == HOSTILE


def test_the_data_of_every_figure_is_saved(page: Any, run: Path) -> None:
    stored = page_data(search_page(read_run(run)))["figures"]
    for name in FIGURES:
        with page.expect_download() as saved:
            page.click(f"[data-save=csv][data-of={name}]")
        assert saved.value.suggested_filename == f"{name}.csv"
        rows = list(csv.reader(io.StringIO(Path(saved.value.path()).read_text(), newline="")))
        assert rows[0] == stored[name]["columns"]
        assert len(rows) == 1 + len(stored[name]["rows"])


# A page each: Chromium keeps back the eleventh file that a page saves within a moment.
@pytest.mark.parametrize(("kind", "begin"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_the_picture_of_every_figure_is_saved(page: Any, kind: str, begin: bytes) -> None:
    for name in FIGURES:
        with page.expect_download() as saved:
            page.click(f"[data-save={kind}][data-of={name}]")
        assert saved.value.suggested_filename == f"{name}.{kind}"
        assert Path(saved.value.path()).read_bytes().startswith(begin)


def test_a_filter_leaves_the_chosen_task(page: Any) -> None:
    def shown() -> int:
        return page.evaluate("views.contenders.data('data_0').length")

    assert shown() == 2
    page.select_option("#figure-contenders select", HOSTILE)
    page.wait_for_function("views.contenders.data('data_0').length === 1")
    page.click("#theme")  # which draws anew
    page.wait_for_function("document.documentElement.dataset.drawn === 'dark'")
    page.evaluate("drawn")
    assert shown() == 1
    assert page.locator("#figure-contenders select").input_value() == HOSTILE


def test_the_single_differences_are_those_of_the_chosen_task(tab: Any, tmp_path: Path) -> None:
    table = make_table("first", HOSTILE)
    figure = single_differences(table)
    page = Page("Table", "made", (Section("table", "Table", (figure,)),))
    (tmp_path / "page.html").write_text(render(page), encoding="utf-8")
    open_file(tab, tmp_path / "page.html")
    for task in ("first", HOSTILE):
        tab.select_option("#figure-seeds select", task)
        tab.wait_for_function(f"views.seeds.signal('chosen_task') === {json.dumps(task)}")
        shown = tab.evaluate("views.seeds.data('data_0').map(d => [d.task, d.change])")
        a, b = (row.logs[task] for row in table.rows)
        expected = [100 * math.expm1(y - x) for x, y in zip(a, b, strict=True)]
        assert [name for name, _ in shown] == [task] * len(expected)
        assert [change for _, change in shown] == pytest.approx(expected, rel=1e-5)


def test_a_legend_is_whole_where_its_columns_follow_the_width(tab: Any, tmp_path: Path) -> None:
    first, second = make_table("first").rows
    rows = (first, *(replace(second, name=f"contender {n}") for n in range(9)))
    figure = contenders(replace(make_table("first"), rows=rows))
    page = Page("Table", "made", (Section("table", "Table", (figure,)),))
    (tmp_path / "page.html").write_text(render(page), encoding="utf-8")
    tab.set_viewport_size({"width": 840, "height": 900})
    open_file(tab, tmp_path / "page.html")
    low, high, height = tab.evaluate(
        "(([b, c]) => [b.y1, b.y2, c.clientHeight])([views.contenders.scenegraph().root.bounds, "
        "document.querySelector('#figure-contenders canvas')])"
    )
    assert high - low <= height


def test_a_click_on_the_front_opens_the_program(page: Any) -> None:
    assert page.locator("#pareto-0").get_attribute("open") is None
    click_on(page, "pareto", *page.evaluate(_ROW, ["pareto", "step", "fitness"]))
    assert page.locator("#pareto-0").get_attribute("open") is not None


def test_steps_open_by_keyboard_and_all_at_once(page: Any) -> None:
    steps = page.locator("#descent details")
    steps.nth(1).locator("summary").press("Enter")
    assert steps.nth(1).get_attribute("open") is not None
    page.click("#descent [data-open]")
    assert page.locator("#descent details[open]").count() == steps.count() == 3
    page.click("#descent [data-close]")
    assert page.locator("#descent details[open]").count() == 0


def test_light_and_dark(page: Any) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    page.click("#theme")
    assert page.evaluate(color) != light
    page.click("#theme")
    assert page.evaluate(color) == light


def test_the_command_is_copied(page: Any, run: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("#settings [data-copy]")
    button.click()
    page.wait_for_function("document.querySelector('#settings [data-copy]').innerText === 'Copied'")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("optforge search --programs 400 ") and str(run) not in copied
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.locator("#summary [data-copy]").click()  # on an insecure address the text is selected
    assert page.evaluate("getSelection().toString()").strip() == LION.text.strip()


def test_links_lead_to_their_sections_by_keyboard(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    for link in page.locator("#sections a").all():
        link.press("Enter")
        name = link.get_attribute("href")
        box = page.locator(f"{name} h2").bounding_box()
        assert page.url.endswith(name) and 0 <= box["y"] < page.viewport_size["height"]


def test_it_prints_in_light_colors_with_all_steps_open(page: Any) -> None:
    page.click("#theme")
    page.evaluate("drawn")
    assert page.locator("details:not([open])").count() > 0
    assert page.pdf().startswith(b"%PDF")
    assert page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('canvas')).filter") != "none"
    assert not page.locator("nav").is_visible() and not page.locator("#theme").is_visible()


def test_the_front_of_a_search_without_a_table_opens_its_programs(tab: Any, tmp_path: Path) -> None:
    page = open_file(tab, write_page(make_run(tmp_path / "run")))
    assert page.locator("#pareto-0").get_attribute("open") is None
    click_on(page, "pareto", *page.evaluate(_ROW, ["pareto", "statements", "fitness"]))
    assert page.locator("#pareto-0").get_attribute("open") is not None


def test_every_control_of_a_comparison_works(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(render(compared()), encoding="utf-8")
    page = open_file(tab, tmp_path / "page.html")
    names = page.locator("[data-figure]").evaluate_all("all => all.map(e => e.dataset.figure)")
    assert names == ["differences", "curves", "rates", "coordinates", "trials", "maps"]
    page.select_option("#figure-differences select >> nth=1", HOSTILE)
    other = page.locator("#figure-maps option").all_inner_texts()[1]
    page.select_option("#figure-maps select", other)
    page.wait_for_function(f"views.maps.signal('chosen_map') === {json.dumps(other)}")
    for name in ("curves", "rates", "trials"):
        task, optimizer = page.locator(f"#figure-{name} select").all()
        assert task.locator("option").count() == 1
        optimizer.select_option(HOSTILE)
        page.wait_for_function(f"views.{name}.signal('chosen_optimizer') !== 'all'")
        shown = page.evaluate(f"views.{name}.data('data_0').map(d => d.optimizer)")
        assert set(shown) == {HOSTILE}


def test_parallel_coordinates_show_the_chosen_optimizer_and_its_best_trials(
    tab: Any, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(render(compared()), encoding="utf-8")
    page = open_file(tab, tmp_path / "page.html")
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
    with page.expect_download() as saved:
        page.click("[data-save=csv][data-of=update]")
    rows = list(csv.reader(io.StringIO(Path(saved.value.path()).read_text(), newline="")))
    assert rows[0] == ["gradient", "state", "update"] and len(rows) == 1 + 61 * 61


def test_a_phone_shows_it_without_scrolling_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
