"""Results that are damaged, or of another kind: one sentence from every verb that reads them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import optforge
from optforge.api.funnel_settings import read_settings
from optforge.comparison.definition import stored_definition
from optforge.errors import CompareError, FunnelError, OptforgeError, RunError, TaskError
from optforge.language import load_rule
from optforge.promotion import read_ladder
from optforge.report.pages.write import page_of, write_page
from optforge.runs import Journal, RunDirectory
from optforge.tuning import PLAIN_SHAPE
from tests.helpers.other_pages import make_funnel, make_simplification
from tests.helpers.page_runs import finish_run, make_run
from tests.helpers.searches import ADAMW, small, tiny_plan
from tests.helpers.tiny import Blobs
from tests.reliability.fuzz import refusal
from tests.reliability.verbs import TASK

DEEP = pytest.param("[" * 100_000 + "]" * 100_000, id="deep")
NESTED = str(DEEP.values[0])
KNOWN = {**dict(PLAIN_SHAPE), **ADAMW}
FUNNEL_KEYS = ("run", "stages", "candidates", "schedules", "known", "alone", "baseline", "alpha",
               "seed")  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished(path: Path) -> Path:
    finish_run(make_run(path, programs=50))
    return path


@pytest.mark.parametrize("content", ["{", "[3]", '{"stages": 3, "steps": 3, "table": 3}', DEEP])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (finished, "table.json"),
        (finished, "simplify.json"),
        (make_funnel, "funnel.json"),
        (make_simplification, "simplify.json"),
    ],
)
def test_a_page_of_a_damaged_file_is_a_sentence(
    make: Callable[[Path], Path], name: str, content: str
) -> None:
    (make(Path("made")) / name).write_text(content)
    with pytest.raises(RunError, match=r"made.* (is damaged \(.*\); run the|cannot be read: )"):
        page_of("made")
    assert refusal("report", "made").startswith("error: made")
    assert not Path("made/report.html").exists()


@pytest.mark.parametrize("make", [finished, make_funnel])
def test_an_empty_file_is_a_result_that_is_not_finished(make: Callable[[Path], Path]) -> None:
    path = make(Path("made"))
    (path / ("table.json" if make is finished else "funnel.json")).write_text("{}")
    assert page_of(path).state in ("not finished", "finished")


@pytest.mark.slow
def test_a_page_of_ones_own_is_not_replaced() -> None:
    """A folder in which optforge keeps no record is the user's, but for runs of former versions."""
    pytest.importorskip("vl_convert", reason="needs vl-convert-python: pip install 'optforge[web]'")
    make_simplification(Path("mine"))
    page = Path("mine/report.html")
    page.write_text("precious")
    assert "report.html was not written by optforge" in refusal("report", "mine")
    assert page.read_text() == "precious"
    write_page("mine", force=True)
    assert "precious" not in page.read_text()
    write_page("mine")
    shutil.rmtree("mine")
    make_simplification(Path("mine"))
    write_page("mine"), write_page("mine")  # its own is replaced


def test_a_search_is_no_funnel() -> None:
    with RunDirectory.create("run", tiny_plan(small()).stored()):
        pass
    words = ("funnel", "run", "--out", "run", "--workers", "0")
    assert "run holds a run already" in refusal(*words)
    before = Path("run/.optforge.json").read_bytes()
    for force in ((), ("--force",)):
        assert "run holds a search, not a funnel" in refusal(*words, "--resume", *force)
    assert Path("run/.optforge.json").read_bytes() == before


def stored_funnel() -> dict[str, Any]:
    """The settings of a funnel with a candidate, as a journal stores them."""
    Path("mine.py").write_text(TASK)
    (stage,) = read_ladder("mine.py:Line", trials=1)
    candidate = {"number": 3, "text": load_rule("lion").text, "fitness": -0.1,
                 "profile": {"Blobs": -0.1}, "cluster_size": 1}  # fmt: skip
    return {
        "run": "run", "stages": [stage.stored()], "candidates": [candidate],
        "schedules": [dict(PLAIN_SHAPE)], "known": [dict(KNOWN)], "alone": [],
        "baseline": "adamw", "alpha": 0.05, "seed": 0,
    }  # fmt: skip


def test_settings_of_a_funnel_are_read_back() -> None:
    with Journal.create(Path("journal.sqlite"), {"funnel": stored_funnel()}) as journal:
        settings = read_settings(journal)
    assert [stage.name for stage in settings.stages] == ["Line"]
    assert settings.candidates[0].program == load_rule("lion")
    assert (settings.baseline, settings.alpha, settings.seed) == ("adamw", 0.05, 0)
    assert settings.known == (tuple(sorted(KNOWN.items())),)


@pytest.mark.parametrize("key", list(FUNNEL_KEYS))
def test_a_damaged_setting_of_a_funnel_is_a_sentence(key: str) -> None:
    whole, values = stored_funnel(), (None, 7.5, "x", [7], [None], [{"a": "b"}], {"a": []})
    cases = [{k: v for k, v in whole.items() if k != key}, *({**whole, key: v} for v in values)]
    refused = 0
    for number, settings in enumerate(cases):
        with Journal.create(Path(f"{number}.sqlite"), {"funnel": settings}) as journal:
            try:
                read_settings(journal)
            except OptforgeError as error:
                assert str(error)
                refused += 1
    assert refused >= (1 if key in ("run", "alone") else 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stage = 3", "other entries than"),
        ("stage = [3]", "other entries than"),
        ("[stage]\ntask = 'digits_mlp'", "other entries than"),
        ("[[stage]]\nscript = 5", "give a name"),
        ("[[stage]]\ntask = ['digits_mlp']", "give a name"),
        ("[[stage]]\ntask = 'digits_mlp'\nseeds = 5", "give a list"),
        ("[[stage]]\ntask = 'digits_mlp'\nseeds = ['a']", "whole number"),
        ("[[stage]]\ntask = 'digits_mlp'\nkeep = nan", "whole number"),
        pytest.param(f"stage = {NESTED}", "cannot be read", id="deep"),
    ],
)
def test_a_wrong_ladder_is_a_sentence(text: str, says: str) -> None:
    Path("ladder.toml").write_text(text)
    with pytest.raises(FunnelError, match=says):
        read_ladder("ladder.toml")


def test_a_ladder_is_read_whatever_wrote_it() -> None:
    Path("a:b").mkdir()
    Path("a:b/mine.py").write_text(TASK)
    stage = b"[[stage]]\ntask = 'a:b/mine.py:Line'\ntrials = 3\n"
    Path("ladder.toml").write_bytes(b"\xef\xbb\xbf" + stage)
    (read,) = read_ladder("ladder.toml")
    assert (read.name, read.trials) == ("Line", 3)


@pytest.mark.parametrize("wrong", [5, None, Blobs, 1.5])
def test_what_is_no_stage_is_a_sentence(wrong: Any) -> None:
    with pytest.raises(FunnelError, match=r"a stage is .*; give the name of a task"):
        read_ladder([wrong])


def test_a_task_in_a_folder_with_a_colon_is_no_script() -> None:
    Path("lr:x").mkdir()
    Path("lr:x/mine.py").write_text(TASK)
    with pytest.raises(OptforgeError, match="name the class in lr:x/mine.py"):
        read_ladder(["lr:x/mine.py"])
    assert read_ladder(["lr:x/mine.py:Line"])[0].name == "Line"


@pytest.mark.parametrize("content", ["null", "[1]", "3", '"x"', "{", DEEP])
def test_a_definition_that_is_no_object_is_a_sentence(content: str) -> None:
    Path("out").mkdir()
    Path("out/comparison.json").write_text(content)
    with pytest.raises(CompareError, match="holds no readable comparison.json"):
        stored_definition(Path("out"))
    assert "holds no readable" in refusal("compare", "--resume", "--out", "out")


def test_deep_nesting_is_a_sentence() -> None:
    Path("suite.toml").write_text(f"tasks = {NESTED}")
    assert "is not TOML" in refusal("compare", "--suite", "suite.toml")
    Path("out").mkdir()
    Path("out/cells.jsonl").write_text(NESTED + "\n")
    words = ("compare", "--tasks", "digits_mlp", "--optimizers", "adamw,lion", "--out", "out")
    assert "line 1 of out/cells.jsonl is not a row" in refusal(*words, "--resume")


@pytest.mark.parametrize("damage", ["tasks", "repeats", "losses", "row", "nothing"])
def test_a_table_of_other_tasks_explains_nothing(damage: str) -> None:
    plan = tiny_plan(small(), [Blobs()])
    RunDirectory.create("run", plan.stored()).close()
    finish_run(Path("run"), "Blobs")
    table = json.loads(Path("run/table.json").read_text())
    rows = table["table"]["rows"]
    rows[1]["name"] = "discovered"
    if damage == "tasks":
        text = json.dumps(table).replace('"Blobs"', '"Other"')
        table = json.loads(text)
    elif damage == "repeats":
        table["table"]["repeats"] = 4
    elif damage == "losses":
        for row in rows:
            row["log_test_losses"]["Blobs"].pop()
    elif damage == "row":
        rows[0]["name"] = "mine"
    Path("run/table.json").write_text(json.dumps(table))
    before = Path("run/table.json").read_bytes()
    wrong, says = (
        (TaskError, "made with the task 'Blobs'") if damage == "nothing"
        else (RunError, "table.json is damaged")
    )  # fmt: skip
    with pytest.raises(wrong, match=says):
        optforge.explain("run", workers=0)
    assert Path("run/table.json").read_bytes() == before


def test_a_line_of_descent_that_goes_round_is_a_sentence() -> None:
    """It was followed for ever."""
    make_run(Path("run"), programs=50)
    with closing(sqlite3.connect("run/journal.sqlite")) as connection, connection:
        connection.execute("UPDATE proposals SET parent = number WHERE parent IS NOT NULL")
    with pytest.raises(RunError, match="descends from"):
        page_of("run")


@pytest.mark.parametrize("name", [*ADAMW, *dict(PLAIN_SHAPE), "warmup 7"])
def test_a_setting_of_a_funnel_that_cannot_be_tried_is_told_at_once(name: str) -> None:
    known = {**KNOWN, "warmup": 7.0} if name == "warmup 7" else KNOWN
    known = {key: value for key, value in known.items() if key != name}
    stored = {"funnel": {**stored_funnel(), "known": [known]}}
    with (
        Journal.create(Path("journal.sqlite"), stored) as journal,
        pytest.raises(OptforgeError, match=rf"{name.split()[0]}"),
    ):
        read_settings(journal)


def test_a_funnel_without_a_stage_is_a_sentence() -> None:
    stored = {"funnel": {**stored_funnel(), "stages": []}}
    with (
        Journal.create(Path("journal.sqlite"), stored) as journal,
        pytest.raises(RunError, match="it has no stage"),
    ):
        read_settings(journal)
