"""What a reader must find on each kind of page, looked for in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optforge.report.pages.render import render
from optforge.report.pages.write import write_page
from tests.helpers.browsing import open_file
from tests.helpers.compared_page import compared
from tests.helpers.other_pages import make_funnel, make_simplification
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
    "commands": ("optforge export lion",),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, plots: Any) -> Iterator[dict[str, Path]]:
    del plots
    folder = tmp_path_factory.mktemp("parts")
    (folder / "comparison.html").write_text(render(compared()), encoding="utf-8")
    yield {
        "search": write_page(make_whole_run(folder / "run")),
        "comparison": folder / "comparison.html",
        "funnel": write_page(make_funnel(folder / "funnel")),
        "simplification": write_page(make_simplification(folder / "simple", "signum")),
        "rule": write_page("lion", folder / "lion.html"),
    }


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("search", SEARCH), ("comparison", COMPARISON), ("funnel", FUNNEL),
        ("simplification", SIMPLIFICATION), ("rule", RULE),
    ],
)  # fmt: skip
def test_a_page_has_all_its_parts_and_fits_a_phone(
    tab: Any, files: dict[str, Path], kind: str, parts: dict[str, tuple[str, ...]]
) -> None:
    tab.set_viewport_size({"width": 390, "height": 800})
    page = open_file(tab, files[kind])
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
