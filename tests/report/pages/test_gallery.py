"""The gallery: a page for each result, an index that leads to all of them."""

from __future__ import annotations

import gzip
import io
import re
from contextlib import redirect_stderr
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_gallery import PACKED, make_gallery, page_with_journal, results_below
from optforge.report.pages import run_data
from optforge.report.pages.blocks import Facts
from optforge.report.pages.rule import rule_page
from tests.helpers.browsing import READY
from tests.helpers.other_pages import make_funnel
from tests.helpers.page_runs import HOSTILE, finish_run, make_run


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, plots: Any) -> Path:
    del plots
    tmp_path = tmp_path_factory.mktemp("gallery")
    kept = make_run(tmp_path / "results" / "search" / "kept")
    finish_run(kept)
    for file in kept.glob("journal*"):
        file.unlink()
    (tmp_path / "results" / "other" / "damaged").mkdir(parents=True)
    (tmp_path / "results" / "other" / "damaged" / "table.json").write_text("{}")
    make_funnel(tmp_path / "results" / "funnel")
    own = make_run(tmp_path / "mine", programs=50)
    subjects = [*results_below(tmp_path / "results", [own])]
    subjects.append(("Rules", "signum", lambda: rule_page("signum")))
    with redirect_stderr(io.StringIO()) as said:
        entries = make_gallery(subjects, tmp_path / "gallery")
    assert [(entry.group, entry.name) for entry in entries] == [
        ("Your own results", "mine"), ("Funnels", "funnel"), ("Searches", "search-kept"),
        ("Rules", "signum"),
    ]  # fmt: skip
    assert "other-damaged has no page" in said.getvalue()
    return tmp_path / "gallery"


def test_the_index_leads_to_every_page(gallery: Path) -> None:
    text = (gallery / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', text)
    assert links == ["mine.html", "funnel.html", "search-kept.html", "signum.html"]
    assert {path.name for path in gallery.iterdir()} == {*links, "index.html"}
    assert "<script" not in text and "<img" not in text and "A verdict on &lt;script&gt;" in text


def test_a_link_of_the_index_opens_its_page(tab: Any, gallery: Path) -> None:
    tab.goto((gallery / "index.html").as_uri())
    assert HOSTILE in tab.locator("main").inner_text()
    tab.click("text=Search kept")
    tab.wait_for_function(READY)
    assert tab.title() == "Search kept"


def test_a_packed_journal_gives_a_page_its_course(tmp_path: Path, plots: Any) -> None:
    del plots
    run = make_run(tmp_path / "run", programs=100)
    finish_run(run)
    begun = run_data.read_run(run).summary.created
    written = datetime.fromisoformat(begun).timestamp() + 3600
    (run / PACKED).write_bytes(
        gzip.compress((run / "journal.sqlite").read_bytes(), mtime=int(written))
    )
    for file in run.glob("journal.sqlite*"):
        if file.name != PACKED:
            file.unlink()
    page = page_with_journal(run)
    assert [section.name for section in page.sections][:2] == ["summary", "progress"]
    facts = dict(
        row for block in page.sections[0].blocks if isinstance(block, Facts) for row in block.rows
    )
    assert facts["elapsed"].startswith("1 h") and page.title == "Search run"
    assert {file.name for file in run.iterdir()} == {PACKED, "table.json"}
