"""The page of a search: its data is the journal's, its text is escaped, its size is bounded."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.errors import OptforgeError
from optforge.report.pages.blocks import Facts, Grid, Tree
from optforge.report.pages.render import page_data, plot_code, render
from optforge.report.pages.run_data import read_run
from optforge.report.pages.search import search_page, steps_forward
from optforge.report.pages.search_figures import progress
from optforge.report.pages.write import write_page
from optforge.runs import Journal, Session
from tests.helpers.checked_html import checked
from tests.helpers.page_runs import (
    HOSTILE,
    LION,
    finish_run,
    make_run,
    value,
)

MEGABYTE = 2**20


def figure(run: Path, name: str) -> list[dict[str, Any]]:
    data = page_data(search_page(read_run(run)))["figures"][name]
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def facts(run: Path) -> dict[str, str]:
    (section,) = [s for s in search_page(read_run(run)).sections if s.name == "summary"]
    return dict(row for block in section.blocks if isinstance(block, Facts) for row in block.rows)


def test_figures_hold_what_the_journal_holds(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = figure(run, "progress")
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        judged = {v.id: v.fitness for v in journal.verdicts() if v.stage_name == "judged"}
        stages = journal.stages()
        rescored = [event.detail["fitness"] for event in journal.events("rescore")]
    shown = {row["program"]: row["value"] for row in rows if row["series"] == "judged"}
    assert shown == pytest.approx(judged, rel=1e-5)
    fresh = [row for row in rows if row["series"].startswith("leader on fresh seeds")]
    assert [row["value"] for row in fresh] == pytest.approx(rescored, rel=1e-5)
    assert all(row["low"] < row["value"] < row["high"] for row in fresh)
    counts = {row["stage"]: row["programs"] for row in figure(run, "stages")}
    assert counts == {name.split(":")[0]: count for name, count in stages.items()}
    assert {row["known"] for row in figure(run, "known")} == {50.0}


def test_a_caption_explains_the_marks_that_are_drawn(tmp_path: Path) -> None:
    course = read_run(make_run(tmp_path / "run")).course
    plain, caption = (
        progress(shown).caption
        for shown in (course, replace(course, parents=[*course.parents, None]))
    )
    assert "noise floor" in plain and "Grey dots" in plain
    assert "Squares" not in plain and "Red" not in plain and "dotted" not in plain
    assert caption == f"{plain} A dotted line is a new start."


def test_the_best_value_is_drawn_from_the_search_and_ends_at_the_last_program(
    tmp_path: Path,
) -> None:
    rows = figure(make_run(tmp_path / "run"), "progress")
    best = [row for row in rows if row["series"].startswith("best in the search")]
    assert best[-1]["program"] == 400
    assert best[-1]["value"] == pytest.approx(value(398), rel=1e-5)


def test_the_line_of_descent_leads_from_the_start_to_the_winner(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    finish_run(run)
    page = search_page(read_run(run))
    blocks = [b for s in page.sections if s.name == "descent" for b in s.blocks]
    (tree,) = [block for block in blocks if isinstance(block, Tree)]
    assert [step.title.split(",")[0] for step in tree.steps] == ["0", "2", "4"]
    last = tree.steps[-1].lines
    assert "\n".join(line for mark, line in last if mark in " +") == LION.text.rstrip()
    assert any(mark == "-" for mark, _ in last)
    assert "% loss" in tree.steps[-1].note and "against its parent" in tree.steps[-1].note


def test_a_running_search_says_what_is_left(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")

    def left(session: Session) -> str | None:
        with Journal.open(run / "journal.sqlite", write=True) as journal:
            journal.write_session(session)
            return facts(run).get("left")

    now = time.time()
    assert left(Session(now - 60, 1, 10.0, None)) == "about 9 min, then the table"
    assert left(Session(now - 100, 200, None, 800)) == "about 3 min, then the table"
    assert str(left(Session(now - 700, 1, 10.0, None))).startswith("none for the search")
    assert str(left(Session(now - 60, 1, None, None))).startswith("not known")
    assert facts(run)["state"] == "stopped" and "left" not in facts(run)


def test_the_pace_is_that_of_the_search_and_not_of_its_table(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    begun = time.time() - 1000
    with Journal.open(run / "journal.sqlite", write=True) as journal:
        journal.write_session(Session(begun, 100, None, 400, ended=begun + 60))
    finish_run(run)
    shown = facts(run)
    assert shown["programs"] == "400, 5.0 a second"
    assert shown["new verdicts"] == "200, 2.5 a second"


@pytest.mark.parametrize(("minutes", "pace"), [(10.0, ", 0.5 a second"), (None, "")])
def test_the_pace_of_a_journal_that_does_not_know_its_end(
    tmp_path: Path, minutes: float | None, pace: str
) -> None:
    run = make_run(tmp_path / "run")
    with Journal.open(run / "journal.sqlite", write=True) as journal:
        journal.write_session(Session(time.time() - 1000, 100, minutes, None))
    finish_run(run)
    assert facts(run)["programs"] == f"400{pace}"


def test_looking_at_a_search_is_no_write(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = facts(run)["elapsed"]
    later = time.time() + 9000
    (run / "journal.sqlite-wal").write_bytes(b"")  # as a reader leaves one
    os.utime(run / "journal.sqlite-wal", (later, later))
    assert facts(run)["elapsed"] == before


def test_settings_are_explained(tmp_path: Path) -> None:
    (section,) = [
        s for s in search_page(read_run(make_run(tmp_path / "run"))).sections
        if s.name == "settings"
    ]  # fmt: skip
    (table,) = [block.table for block in section.blocks if isinstance(block, Grid)]
    assert [row[:2] for row in table.rows if row[0] == "seed"] == [("seed", "3")]
    assert all(meaning.endswith(".") for *_, meaning in table.rows)


def test_the_noise_floor_is_that_of_the_best_on_fresh_seeds(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    best = read_run(run).course.best_leader
    assert best is not None and facts(run)["noise floor"].startswith(f"± {best.half:.4f}")
    (band,) = [row for row in figure(run, "progress") if row["series"] == "noise floor"]
    assert [band["low"], band["high"]] == pytest.approx(
        [best.fresh - best.half, best.fresh + best.half], rel=1e-5
    )


def test_long_searches_are_thinned_to_their_last_program(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    leaders = [replace(run.course.rescored[-1], number=n, fresh=-n / 1e4) for n in range(3000)]
    course = replace(run.course, rescored=leaders)
    steps, drawn = steps_forward(course), progress(course).rows
    assert len(steps.rows) == 100 and "The last 100 of 3,000." in steps.title
    assert steps.rows[-1][0] == "2,999"
    fresh = [row["program"] for row in drawn if row["series"].startswith("leader on fresh")]
    assert len(fresh) <= 500 and fresh[-1] == 2999


def test_a_run_without_a_batch_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", programs=0)
    names = [section.name for section in search_page(read_run(run)).sections]
    assert names == ["summary", "progress", "rejections", "settings"]


def test_markup_in_names_is_shown_and_never_a_tag(tmp_path: Path, plots: Any) -> None:
    del plots
    run = make_run(tmp_path / "run")
    finish_run(run)
    html = render(search_page(read_run(run)))
    page = checked(html)
    assert page.text.count(HOSTILE) >= 5
    assert page.tags.count("script") == 3 and "img" not in page.tags
    assert not {name for name in page.attributes if name.startswith("on")}
    assert len(page.ids) == len(set(page.ids))
    stored = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert stored is not None and not set("<>&") & set(stored[1])
    assert HOSTILE in json.dumps(json.loads(stored[1])).encode().decode("unicode_escape")


def test_every_figure_is_a_specification_that_compiles(tmp_path: Path, plots: Any) -> None:
    run = make_run(tmp_path / "run")
    finish_run(run)
    page = search_page(read_run(run))
    assert {f.name for f in page.figures} == {
        *("progress", "contenders", "seeds"),
        *("pareto", "stages", "known"),
    }
    for drawn in page.figures:
        spec = {**drawn.spec, "data": {"values": [dict(row) for row in drawn.rows]}, "width": 600}
        picture = plots.vegalite_to_svg(spec)
        assert "<svg" in picture and "<script" not in picture


def test_a_page_is_one_file_below_its_bounds(tmp_path: Path, plots: Any) -> None:
    del plots
    run = make_run(tmp_path / "run", programs=6_000)
    file = write_page(run)
    html = file.read_text()
    data = page_data(search_page(read_run(run)))
    assert len(json.dumps(data)) < 2 * MEGABYTE
    assert file.stat().st_size < 5 * MEGABYTE
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html.split("<script>")[0])
    assert write_page(run) == file  # a page of ours is replaced


@pytest.mark.slow
def test_the_page_of_a_long_search_is_no_larger(tmp_path: Path, plots: Any) -> None:
    del plots
    assert write_page(make_run(tmp_path / "run", 300_000)).stat().st_size < 2 * MEGABYTE


def test_a_file_of_somebody_else_stays(tmp_path: Path, plots: Any) -> None:
    del plots
    run, other = make_run(tmp_path / "run"), tmp_path / "mine.html"
    other.write_text("mine")
    with pytest.raises(OptforgeError, match="exists already"):
        write_page(run, other)
    assert other.read_text() == "mine"
    assert write_page(run, other, force=True).read_text().startswith("<!doctype html>")


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptforgeError, match="holds no result"):
        write_page(tmp_path)


def test_a_missing_package_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot_code.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(OptforgeError, match=r"pip install 'optforge\[web\]'"):
        write_page(make_run(tmp_path / "run"))
