"""Pages in Chromium, without a network: every control does its work, the console stays empty."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optforge.report.pages.render import page_data, render
from optforge.report.pages.run_data import read_run
from optforge.report.pages.search import search_page
from optforge.report.pages.write import write_page
from tests.helpers.compared_page import compared
from tests.helpers.other_pages import make_funnel, make_simplification
from tests.helpers.page_runs import HOSTILE, finish_run, make_run

READY = "document.documentElement.dataset.ready === 'yes'"
FIGURES = ["progress", "contenders", "pareto", "stages", "known"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    reason = "needs {0}: pip install {0}"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason.format("playwright"))
    pytest.importorskip("vl_convert", reason=reason.format("vl-convert-python"))
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_run(tmp_path_factory.mktemp("page") / "run")
    finish_run(path)
    write_page(path)
    return path


@pytest.fixture
def page(browser: Any, run: Path) -> Iterator[Any]:
    """The page, opened offline; at the end nothing may have been said or run."""
    context = browser.new_context(offline=True, color_scheme="light", accept_downloads=True)
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.set_default_timeout(15_000)
    opened.goto((run / "report.html").as_uri())
    opened.wait_for_function(READY)
    yield opened
    assert opened.evaluate("window.hacked === undefined")
    assert said == []
    context.close()


def test_all_figures_are_drawn_and_names_are_text(page: Any) -> None:
    drawn = page.locator(".plot canvas")
    assert drawn.count() == len(FIGURES)
    assert all(drawn.nth(n).bounding_box()["width"] > 300 for n in range(len(FIGURES)))
    assert HOSTILE in page.locator("#table").inner_text()
    assert page.locator("#figure-contenders option").all_inner_texts()[-1] == HOSTILE


def test_data_and_pictures_are_saved(page: Any, run: Path) -> None:
    stored = page_data(search_page(read_run(run)))["figures"]
    for name in FIGURES:
        with page.expect_download() as saved:
            page.click(f"[data-save=csv][data-of={name}]")
        assert saved.value.suggested_filename == f"{name}.csv"
        rows = list(csv.reader(io.StringIO(Path(saved.value.path()).read_text(), newline="")))
        assert rows[0] == stored[name]["columns"]
        assert len(rows) == 1 + len(stored[name]["rows"])
    for kind, begin in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as saved:
            page.click(f"[data-save={kind}][data-of=progress]")
        assert Path(saved.value.path()).read_bytes().startswith(begin)


def test_a_filter_leaves_the_chosen_task(page: Any) -> None:
    def shown() -> int:
        return page.evaluate("views.contenders.data('data_0').length")

    assert shown() == 2
    page.select_option("#figure-contenders select", HOSTILE)
    page.wait_for_function("views.contenders.data('data_0').length === 1")


def test_a_click_on_the_front_opens_the_program(page: Any) -> None:
    assert page.locator("#pareto-0").get_attribute("open") is None
    page.locator("#figure-pareto canvas").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """() => { const view = views.pareto, box = view._el.querySelector("canvas")
             .getBoundingClientRect(), [a, b] = view.origin(), row = view.data("data_0")[0];
             return [box.x + a + view.scale("x")(row.step),
                     box.y + b + view.scale("y")(row.fitness)]; }"""
    )
    page.mouse.click(x, y)
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


def test_every_control_of_a_comparison_works(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(render(compared()), encoding="utf-8")
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function(READY, timeout=15_000)
    names = page.locator("[data-figure]").evaluate_all("all => all.map(e => e.dataset.figure)")
    assert names == ["differences", "curves", "rates", "trials", "maps"]
    page.select_option("#figure-differences select >> nth=1", HOSTILE)
    other = page.locator("#figure-maps option").all_inner_texts()[1]
    page.select_option("#figure-maps select", other)
    page.wait_for_function(f"views.maps.signal('chosen_map') === {json.dumps(other)}")
    assert page.evaluate("window.hacked === undefined") and said == []
    page.close()


def test_a_funnel_and_a_simplification_work_offline(browser: Any, tmp_path: Path) -> None:
    context, said = browser.new_context(offline=True), []
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in (make_funnel(tmp_path / "funnel"), make_simplification(tmp_path / "simple")):
        page.goto(write_page(path).as_uri())
        page.wait_for_function(READY, timeout=15_000)
        assert page.locator(".plot canvas").count() == 1
        step = page.locator("details").first
        step.locator("summary").press("Enter")
        assert step.get_attribute("open") is not None
        if path.name == "funnel":
            page.select_option("#figure-stages select", "second")
            page.wait_for_function("views.stages.data('data_0').length === 1")
    assert page.evaluate("window.hacked === undefined") and said == []
    context.close()


def test_a_phone_shows_it_without_scrolling_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
