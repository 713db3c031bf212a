"""All kinds of pages in Chromium: what a reader must find there, and every control works."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from optforge.report.pages.render import render
from optforge.report.pages.write import write_page
from tests.helpers.browsing import SAVED, controls, lines_of, new_tab, open_file, save
from tests.helpers.compared_page import compared, results, rows_of
from tests.helpers.other_pages import make_funnel, make_simplification
from tests.helpers.page_runs import HOSTILE, LION
from tests.helpers.whole_run import make_whole_run

SEARCH = {
    "summary": (
        "state finished", "elapsed .*to the last write", r"programs 400, 5\.0 a second",
        r"new verdicts 200, 2\.5 a second", r"noise floor ± 0\.\d+ of fitness",
        "known already 50 %",
    ),
    "progress": ("on fresh seeds, 95 %", "step, 95 %", "within the noise", "luckiest of many"),
    "table": ("Contenders against", "The single differences", "Log ratio of test loss"),
    "descent": (r"4, constants: modify .*% loss .*against its parent",),
    "pareto": (r"fitness -0\.0900 \[-0\.0950, -0\.0850\] on fresh seeds", "4 bytes of state"),
    "reasons": ("gain over the rate alone", "decay", "step by step", "exact"),
    "rejections": (
        "known already", "phases constants from program 0, structure from program 100",
        "new starts 0", "2 of 7 rejected programs", "meta-overfitting 1 time",
    ),
    "settings": ("optforge search --programs 400 --seed 3", "seed 3 Random seed", "machine"),
}  # fmt: skip
COMPARISON = {
    "summary": ("Put to the test", "Test loss against tuned adamw", "change of loss", "verdict"),
    "figures": ("luck of the tuning", "interval as a band", "learning rate", "rank by loss",
                "Expected best", "weight decay"),
    "tables": ("diverged", "Cost: medians of a step", "Luck of the tuning"),
    "settings": ("optforge compare --resume", "trials 4 Settings tried", "torch"),
}  # fmt: skip
FUNNEL = {
    "summary": ("No candidate beats", "stages 2 of 2 finished"),
    "stages": ("trials each entered promoted", "95 % intervals"),
    "candidates": (r"program 7.*promoted at -7\.7 %.*dropped at \+1\.0 %", "corrected p-value"),
    "settings": ("optforge funnel .* --trials 4 --candidates 2 --baseline adamw", "keep 16"),
}
SIMPLIFICATION = {
    "summary": ("Signum with beta = 0.9",),
    "derivation": (r"1\. exact.*statements", "The rule as given"),
    "properties": ("scaling of gradients invariant", "bound of the update", "bytes a parameter",
                   "Update against gradient and"),
}  # fmt: skip
RULE = {
    "summary": ("Lion with beta1 = 0.9",),
    "properties": ("scaling of gradients invariant", "bound of the update at lr = 1",
                   "passes over all parameters", "Update against gradient and momentum"),
    "commands": (r"optforge export \S*mine.py",),
}  # fmt: skip
FIGURES = ["differences", "curves", "rates", "coordinates", "trials", "maps"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, plots: Any) -> dict[str, Path]:
    del plots
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "comparison.html").write_text(render(compared()), encoding="utf-8")
    (folder / "mine.py").write_text(f"# {HOSTILE}\n{LION.text}")
    return {
        "search": write_page(make_whole_run(folder / "run")),
        "comparison": folder / "comparison.html",
        "funnel": write_page(make_funnel(folder / "funnel")),
        "simplification": write_page(make_simplification(folder / "simple", "signum")),
        "rule": write_page(folder / "mine.py"),
    }


@pytest.fixture(scope="module")
def phone(browser: Any, files: dict[str, Path]) -> Iterator[Callable[[str], Any]]:
    """What gives the page of each kind on a phone; it is opened once."""
    with ExitStack() as tabs:

        @cache
        def opened(kind: str) -> Any:
            return open_file(tabs.enter_context(new_tab(browser, 390)), files[kind])

        yield opened


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("search", SEARCH), ("comparison", COMPARISON), ("funnel", FUNNEL),
        ("simplification", SIMPLIFICATION), ("rule", RULE),
    ],
)  # fmt: skip
def test_a_page_has_all_its_parts_and_fits_a_phone(
    phone: Callable[[str], Any], kind: str, parts: dict[str, tuple[str, ...]]
) -> None:
    page = phone(kind)
    for section, patterns in parts.items():
        text = " ".join(page.locator(f"#{section}").inner_text().split())
        for pattern in patterns:
            assert re.search(pattern, text), f"{section} lacks {pattern!r}: {text[:2000]}"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    figures = page.locator("figure").all()
    assert figures and all(f.locator("canvas").count() == 1 for f in figures)
    assert all(f.locator("[data-save]").count() == 3 for f in figures)
    captions = [f.locator("figcaption").inner_text() for f in figures]
    assert all(len(caption.split()) > 8 for caption in captions)
    regions = page.locator(".grid").all()
    assert all(region.get_attribute("tabindex") == "0" for region in regions)
    assert page.locator("button:not([type=button])").count() == 0


@pytest.fixture(scope="module")
def page(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    """The page of a comparison, opened once; each test leaves the figures of the others alone."""
    with new_tab(browser) as opened:
        yield open_file(opened, files["comparison"])


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


@pytest.mark.parametrize(("figures", "is_phone"), [(FIGURES[:3], True), (FIGURES[3:], False)])
def test_data_and_pictures_of_a_comparison_are_saved(
    page: Any, phone: Callable[[str], Any], figures: list[str], is_phone: bool
) -> None:
    shown = phone("comparison") if is_phone else page
    for name in figures:
        for kind, begin in SAVED.items():
            content = save(shown, name, kind)
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


def test_a_funnel_and_a_simplification_work_offline(phone: Callable[[str], Any]) -> None:
    for kind in ("funnel", "simplification"):
        page = phone(kind)
        assert page.locator(".plot canvas").count() == 1
        step = page.locator("details").first
        step.locator("summary").press("Enter")
        assert step.get_attribute("open") is not None
        if kind == "funnel":
            page.select_option("#figure-stages select", "second")
            page.wait_for_function("views.stages.data('data_0').length === 1")


def test_the_card_of_a_rule_works_offline(phone: Callable[[str], Any]) -> None:
    page = phone("rule")
    assert HOSTILE in page.locator("#summary").inner_text()
    assert page.locator("#figure-update canvas").count() == 1
    rows = list(csv.reader(io.StringIO(save(page, "update", "csv").decode(), newline="")))
    assert rows[0] == ["gradient", "state", "update"] and len(rows) == 1 + 61 * 61
