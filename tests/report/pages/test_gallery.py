"""The gallery: a page for each result, an index that leads to all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_gallery import make_gallery, results_below
from optforge.report.pages.rule import rule_page
from tests.helpers.browsing import READY
from tests.helpers.page_runs import HOSTILE, finish_run, make_run


@pytest.fixture
def gallery(tmp_path: Path, plots: Any, capsys: pytest.CaptureFixture[str]) -> Path:
    del plots
    kept = make_run(tmp_path / "results" / "search" / "kept")
    finish_run(kept)
    for file in kept.glob("journal*"):
        file.unlink()
    (tmp_path / "results" / "other" / "damaged").mkdir(parents=True)
    (tmp_path / "results" / "other" / "damaged" / "table.json").write_text("{}")
    own = make_run(tmp_path / "mine", programs=50)
    subjects = [*results_below(tmp_path / "results", [own])]
    subjects.append(("Rules", "signum", lambda: rule_page("signum")))
    entries = make_gallery(subjects, tmp_path / "gallery")
    assert [entry.name for entry in entries] == ["mine", "search-kept", "signum"]
    assert "other-damaged has no page" in capsys.readouterr().err
    return tmp_path / "gallery"


def test_the_index_leads_to_every_page(gallery: Path) -> None:
    text = (gallery / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', text)
    assert links == ["mine.html", "search-kept.html", "signum.html"]
    assert {path.name for path in gallery.iterdir()} == {*links, "index.html"}
    assert "<script" not in text and "<img" not in text and "A verdict on &lt;script&gt;" in text


def test_a_link_of_the_index_opens_its_page(tab: Any, gallery: Path) -> None:
    tab.goto((gallery / "index.html").as_uri())
    assert HOSTILE in tab.locator("main").inner_text()
    tab.click("text=Search kept")
    tab.wait_for_function(READY)
    assert tab.title() == "Search kept"
