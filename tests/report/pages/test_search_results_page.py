"""The end of a search as a page: its table, front, rejections; also where only they were kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.errors import OptforgeError
from optforge.report.pages.blocks import Facts, Grid, Tree, Words
from optforge.report.pages.render import page_data, render
from optforge.report.pages.run_data import read_run
from optforge.report.pages.search import search_page
from optforge.report.pages.search_results import against_rows, table_blocks
from optforge.report.pages.write import page_of
from optforge.report.words import percent
from optforge.runs import Journal
from tests.helpers.checked_html import checked
from tests.helpers.page_runs import (
    HOSTILE,
    finish_run,
    make_proposal,
    make_run,
    make_table,
    make_verdict,
    value,
)
from tests.helpers.whole_run import make_whole_run


def figure(run: Path, name: str) -> list[dict[str, Any]]:
    data = page_data(search_page(read_run(run)))["figures"][name]
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def test_a_finished_run_shows_verdict_table_and_front(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    table = finish_run(run)
    (mean, task) = figure(run, "contenders")
    assert mean["mean"] == pytest.approx(task["mean"])
    assert task["low"] < task["mean"] < task["high"] < 0
    assert table.rows[1].proxies.mean == pytest.approx(-0.1)
    assert [row["fitness"] for row in figure(run, "pareto")] == [-0.09]


def test_before_the_table_the_front_is_that_of_the_judged_programs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", programs=100)
    with Journal.open(run / "journal.sqlite", write=True) as journal:
        sizes = {102: (4.0, 12), 104: (8.0, 5), 108: (8.0, 12), 110: (4.0, 12)}
        verdicts = []
        for number in range(100, 112, 2):
            state, statements = sizes.get(number, (8.0, 9))
            verdict = make_verdict(number, HOSTILE)
            verdicts.append(replace(verdict, state_bytes=state, live_statements=statements))
        journal.commit(2, [make_proposal(number, 2) for number in range(100, 112)], verdicts)
    rows = [row for row in figure(run, "pareto") if row["series"].startswith("in the search")]
    # The fittest of 4 bytes and 12 statements dominates that of 8 bytes and 12, but no shorter one.
    assert [row["program"] for row in rows] == [110, 104]
    assert [row["fitness"] for row in rows] == pytest.approx([value(110), value(104)], rel=1e-5)
    assert all(row["low"] < row["fitness"] < row["high"] for row in rows)
    (section,) = [s for s in search_page(read_run(run)).sections if s.name == "pareto"]
    (tree,) = [block for block in section.blocks if isinstance(block, Tree)]
    assert [step.name for step in tree.steps] == ["pareto-0", "pareto-1"]
    assert "".join(line for _, line in tree.steps[0].lines).startswith("def train")


def test_the_front_shows_a_leader_on_fresh_seeds_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", programs=100)
    searched, fresh = figure(run, "pareto")
    assert fresh["series"] == "on fresh seeds" and fresh["program"] == searched["program"] == 98
    assert fresh["fitness"] == pytest.approx(value(98) + 0.01, rel=1e-5)


def test_a_search_of_which_only_the_table_was_kept_has_a_page(tmp_path: Path, plots: Any) -> None:
    del plots
    run = make_run(tmp_path / "run")
    finish_run(run)
    whole = search_page(read_run(run))
    for file in run.glob("journal*"):
        file.unlink()
    kept = page_of(run)
    assert [section.name for section in kept.sections] == ["summary", "table", "pareto"]
    by_name = {section.name: section for section in whole.sections}
    assert kept.sections[1:] == (by_name["table"], by_name["pareto"])
    text = checked(render(kept)).text
    assert f"A verdict on {HOSTILE}." in text and "but not the journal" in text


def test_an_explanation_that_was_asked_for_later_takes_the_place_of_the_first(
    tmp_path: Path,
) -> None:
    run = make_whole_run(tmp_path / "run")
    first = json.loads((run / "table.json").read_text())["explanation"]

    def title() -> str:
        (section,) = [s for s in search_page(read_run(run)).sections if s.name == "reasons"]
        return next(block.table.title for block in section.blocks if isinstance(block, Grid))

    assert "4 trials a task" in title()
    (run / "explain.json").write_text(json.dumps({**first, "trials": 96}))
    assert "96 trials a task" in title()


@pytest.mark.parametrize("content", ["[]", "no JSON", '{"rows": []}'])
def test_a_table_of_somebody_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(OptforgeError, match=r"table\.json"):
        page_of(tmp_path)


def test_the_rule_is_held_against_each_other_row() -> None:
    table = make_table("first", HOSTILE, name="discovered")
    (row,) = against_rows(table).rows
    assert row[0] == "tuned AdamW" and len(row) == 4
    assert row[1] == percent(table.rows[1].proxies)
    assert row[3] == percent(table.rows[1].tasks[HOSTILE])


def test_names_of_rows_that_are_no_optimizers_are_explained() -> None:
    table = make_table("first", HOSTILE, name="discovered")
    control = replace(table.rows[1], name="AdamW, constants only")
    joint = replace(control, name="AdamW, constants only, one setting")
    longer = replace(
        table, rows=(*table.rows, control, joint), proxies=("first",), held_out=(HOSTILE,)
    )
    (plain,), (wide,) = (
        [block.rows for block in table_blocks(shown) if isinstance(block, Facts)]
        for shown in (table, longer)
    )
    assert [name for name, _ in plain] == ["discovered", "proxies"]
    assert [name for name, _ in wide] == [
        "discovered", "AdamW, constants only", "one setting", "proxies", "held out"
    ]  # fmt: skip
    assert plain[-1][1].endswith(f": first, {HOSTILE}")
    assert wide[-2][1].endswith(": first") and wide[-1][1].endswith(f": {HOSTILE}")


def test_stages_stand_in_the_order_in_which_programs_pass_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    finish_run(run)
    stored = json.loads((run / "table.json").read_text())
    rejected = {f"{HOSTILE}, repeats 1-2": 1, f"{HOSTILE}, repeat 0": 2, "probe": 3}
    stored["counts"] = {
        "programs": 10, "new": 8, "judged": 2, "rejected": rejected, "audited": 7,
        "wrongly_rejected": 5, "same_fingerprint_other_numbers": 0,
        "same_numbers_other_fingerprint": 4,
    }  # fmt: skip
    (run / "table.json").write_text(json.dumps(stored))
    for file in run.glob("journal*"):
        file.unlink()
    page = page_of(run)
    (drawn,) = [figure for figure in page.figures if figure.name == "stages"]
    assert [row["programs"] for row in drawn.rows] == [3, 2, 1, 2]
    (section,) = [s for s in page.sections if s.name == "rejections"]
    said = dict(row for b in section.blocks if isinstance(b, Facts) for row in b.rows)
    assert said["programs"] == "10, 20 % known already"
    assert said["audit"].startswith("5 of 7 rejected programs")


def test_a_finalist_that_failed_is_not_on_the_front(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    finish_run(run)
    stored = json.loads((run / "table.json").read_text())
    stored["pareto"].append({**stored["pareto"][0], "fitness": None})
    (run / "table.json").write_text(json.dumps(stored))
    (section,) = [s for s in search_page(read_run(run)).sections if s.name == "pareto"]
    (tree,) = [block for block in section.blocks if isinstance(block, Tree)]
    (step,) = tree.steps
    assert step.title == "fitness -0.0900 [-0.0950, -0.0850] on fresh seeds"
    assert [block.text for block in section.blocks if isinstance(block, Words)] == [
        "Left out, as they failed on fresh seeds: 1."
    ]
