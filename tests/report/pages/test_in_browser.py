"""Pages in Chromium, without a network: every control does its work, the console stays empty."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.report.pages.blocks import Figure, Page, Section
from optforge.report.pages.figures import forest
from optforge.report.pages.render import page_data, render
from optforge.report.pages.run_data import read_run
from optforge.report.pages.search import search_page
from optforge.report.pages.table_figures import contenders, pareto, single_differences
from optforge.report.pages.write import write_page
from tests.helpers.browsing import (
    SAVED,
    as_opened,
    click_on,
    controls,
    hover_on,
    new_tab,
    open_file,
    save,
)
from tests.helpers.page_runs import HOSTILE, LION, finish_run, make_run, make_table

FIGURES = ["progress", "contenders", "seeds", "pareto", "stages", "known"]
_BARS = """(figure) => {
  const bars = (node) => node.role === "mark" && node.marktype === "rect"
    ? node.items.map((item) => [item.y, item.y + item.height]) : (node.items || []).flatMap(bars);
  return bars(views[figure].scenegraph().root); }"""
_ROW = "(([figure, ...names]) => { const { columns, rows } = data.figures[figure]; "
_ROW += "return names.map((name) => rows[0][columns.indexOf(name)]); })"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plots: Any) -> Path:
    del plots
    path = make_run(tmp_path_factory.mktemp("page") / "run")
    finish_run(path)
    write_page(path)
    return path


@pytest.fixture(scope="module")
def shared(browser: Any, run: Path) -> Iterator[Any]:
    with new_tab(browser) as opened:
        yield open_file(opened, run / "report.html")


@pytest.fixture
def page(shared: Any) -> Any:
    """The page of a finished search, opened once for all tests that leave no trace in it."""
    return as_opened(shared)


def test_all_figures_are_drawn_and_names_are_text(page: Any) -> None:
    drawn = page.locator(".plot canvas")
    assert drawn.count() == len(FIGURES)
    assert all(drawn.nth(n).bounding_box()["width"] > 300 for n in range(len(FIGURES)))
    assert HOSTILE in page.locator("#table").inner_text()
    assert page.locator("#figure-contenders option").all_inner_texts()[-1] == HOSTILE
    saves, trees = {"button save"}, {"button open", "button close", "summary"}
    assert controls(page) == {"a", "select", "button copy", "button theme"} | saves | trees


@pytest.fixture(scope="module")
def second(browser: Any, run: Path) -> Iterator[Any]:
    """The same page in a tab of its own: one saves no more than ten files within a moment."""
    with new_tab(browser) as opened:
        yield open_file(opened, run / "report.html")


def test_links_lead_to_their_sections_by_keyboard(second: Any) -> None:
    second.keyboard.press("Tab")  # the first key in a page that was just opened
    assert second.evaluate("document.activeElement.className") == "skip"
    second.keyboard.press("Enter")
    assert second.url.endswith("#main")
    for link in second.locator("#sections a").all():
        link.press("Enter")
        name = link.get_attribute("href")
        box = second.locator(f"{name} h2").bounding_box()
        assert second.url.endswith(name) and 0 <= box["y"] < second.viewport_size["height"]


@pytest.mark.parametrize(("figures", "is_second"), [(FIGURES[:3], False), (FIGURES[3:], True)])
def test_data_and_pictures_of_every_figure_are_saved(
    page: Any, second: Any, run: Path, figures: list[str], is_second: bool
) -> None:
    shown = second if is_second else page
    stored = page_data(search_page(read_run(run)))["figures"]
    for name in figures:
        text = save(shown, name, "csv").decode()
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert rows[0] == stored[name]["columns"]
        assert len(rows) == 1 + len(stored[name]["rows"])
        for kind in ("svg", "png"):
            assert save(shown, name, kind).startswith(SAVED[kind])


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
    page.select_option("#figure-contenders select", "all")
    page.wait_for_function("views.contenders.data('data_0').length === 2")


def test_a_point_says_what_it_is_and_runs_no_markup(page: Any) -> None:
    row, mean = page.evaluate(_ROW, ["contenders", "row", "mean"])
    said = hover_on(page, "contenders", mean, row)
    assert row.replace("mean over proxies: ", "") in said and HOSTILE in said
    page.mouse.move(0, 0)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """A page of figures that no single search has all of."""
    (kept,) = json.loads((run / "table.json").read_text())["pareto"]
    table = make_table("first", HOSTILE)
    first, second = table.rows
    several = (first, *(replace(second, name=f"contender {n}") for n in range(3)))
    figures = (
        single_differences(table), contenders(replace(table, rows=several)), outcomes_figure(),
        pareto([{**kept, "low": None, "high": None}]),
    )  # fmt: skip
    file = tmp_path_factory.mktemp("parts") / "page.html"
    page = Page("Parts", "made", (Section("parts", "Parts", figures),))
    file.write_text(render(page), encoding="utf-8")
    return file


def outcomes_figure() -> Figure:
    """A forest plot whose legend has more entries than fit into a line."""
    outcomes = [f"outcome {n}" for n in range(9)]
    rows = [
        {"row": f"row {n}", "task": "all", "program": "p", "name": name, "words": "",
         "mean": n, "low": n, "high": n}
        for n, name in enumerate(outcomes)
    ]  # fmt: skip
    spec = forest(["x"], outcomes, {"task": ["all"]}, len(rows), label="program")
    return Figure("outcomes", "Outcomes.", "", spec, rows)


@pytest.fixture(scope="module")
def wide(browser: Any, parts: Path) -> Iterator[Any]:
    with new_tab(browser, 840) as opened:
        yield open_file(opened, parts)


@pytest.fixture(scope="module")
def phone(browser: Any, parts: Path) -> Iterator[Any]:
    with new_tab(browser, 390) as opened:
        yield open_file(opened, parts)


def test_the_single_differences_are_those_of_the_chosen_task(wide: Any) -> None:
    table = make_table("first", HOSTILE)
    for task in ("first", HOSTILE):
        wide.select_option("#figure-seeds select", task)
        wide.wait_for_function(f"views.seeds.signal('chosen_task') === {json.dumps(task)}")
        shown = wide.evaluate("views.seeds.data('data_0').map(d => [d.task, d.change])")
        a, b = (row.logs[task] for row in table.rows)
        expected = [100 * math.expm1(y - x) for x, y in zip(a, b, strict=True)]
        assert [name for name, _ in shown] == [task] * len(expected)
        assert [change for _, change in shown] == pytest.approx(expected, rel=1e-5)


def test_a_legend_is_whole_where_its_columns_follow_the_width(wide: Any, phone: Any) -> None:
    heights = []
    for tab in (wide, phone):
        low, high, height = tab.evaluate(
            "(([b, c]) => [b.y1, b.y2, c.clientHeight])([views.outcomes.scenegraph().root.bounds, "
            "document.querySelector('#figure-outcomes canvas')])"
        )
        assert high - low <= height
        heights.append(height)
    assert heights[0] < heights[1]


def test_a_row_keeps_its_height_and_a_phone_begins_with_one_task(wide: Any, phone: Any) -> None:
    labels, height = "views.contenders.scale('y').domain()", "views.contenders.height()"
    whole = wide.evaluate(height)
    assert len(wide.evaluate(labels)) == 9
    assert f"{HOSTILE}: contender 0" in wide.evaluate(labels)
    wide.select_option("#figure-contenders select", HOSTILE)
    wide.wait_for_function(f"{height} < {whole}")
    assert wide.evaluate(labels) == ["contender 0", "contender 1", "contender 2"]
    assert wide.evaluate(height) * 3 == whole
    assert phone.locator("#figure-contenders select").input_value() == "mean over proxies"
    assert phone.evaluate(height) * 3 == whole
    phone.select_option("#figure-contenders select", "all")
    phone.wait_for_function(f"{height} === {whole}")


def test_a_front_without_intervals_has_axes(wide: Any) -> None:
    fitness = wide.evaluate(_ROW, ["pareto", "fitness"])[0]
    low, high = wide.evaluate("views.pareto.scale('y').domain()")
    assert low <= fitness <= high < 0


def test_the_bars_of_known_programs_begin_at_zero(page: Any) -> None:
    bars = page.evaluate(_BARS, "known")
    height = page.evaluate("views.known.height()")
    assert bars and all(bar == [height / 2, height] for bar in bars)  # 50 % are known


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
    scheme = "getComputedStyle(document.documentElement).colorScheme"  # of lists to choose from
    light = page.evaluate(color)
    page.click("#theme")
    assert page.evaluate(color) != light and page.evaluate(scheme) == "dark"
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
    page.set_viewport_size({"width": 600, "height": 900})  # narrower than what was drawn
    drawn = page.locator("canvas").evaluate_all("all => all.map(e => e.clientWidth)")
    assert max(drawn) <= page.locator("main").evaluate("e => e.clientWidth")


def test_the_front_of_a_search_without_a_table_opens_its_programs(tab: Any, tmp_path: Path) -> None:
    page = open_file(tab, write_page(make_run(tmp_path / "run")))
    assert page.locator("#pareto-0").get_attribute("open") is None
    click_on(page, "pareto", *page.evaluate(_ROW, ["pareto", "statements", "fitness"]))
    assert page.locator("#pareto-0").get_attribute("open") is not None


def test_a_phone_shows_it_without_scrolling_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
