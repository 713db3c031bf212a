"""Two processes that write to the same place: the second one is told, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from optforge.cli.app import app
from optforge.comparison.cells.cell_table import acquire_lock
from optforge.files import begin_record, replace_file
from optforge.language import rule_text
from optforge.runs import RunDirectory, outputs
from tests.reliability.fuzz import refusal

THEIRS = "theirs"
COMPARE = ("compare", "--tasks", "digits_mlp", "--optimizers", "adamw,lion", "--out", "out")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("export", "lion", "--out", "file"),
        ("simplify", "signum", "--exact", "--out", "file"),
        ("simplify", "signum", "--exact", "--picture", "file"),
        ("report", "run", "--out", "file"),
    ],
    ids=lambda words: f"{words[0]} {words[-2]}",
)
def test_a_file_that_appears_meanwhile_stays(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(path: Path, content: str | bytes, new: bool) -> None:
        path.write_text(THEIRS)
        replace_file(path, content, new)

    if words[0] == "report":
        monkeypatch.setattr("optforge.report.pages.write.page_of", lambda path: path)
        monkeypatch.setattr("optforge.report.pages.write.render", str)
    monkeypatch.setattr(outputs, "replace_file", meanwhile)
    assert "file exists already; replace it with --force" in refusal(*words)
    assert Path("file").read_text() == THEIRS
    assert [path.name for path in Path().iterdir()] == ["file"]


@pytest.mark.parametrize(
    "words",
    [
        ("search", "--resume", "run"),
        ("explain", "run"),
        ("simplify", "run", "--exact"),
        ("funnel", "run", "--resume", "--out", "run"),
    ],
    ids=lambda words: words[0],
)
def test_a_run_has_one_writer(words: tuple[str, ...]) -> None:
    settings = {"search": {"tasks": ["digits_mlp"]}}
    with RunDirectory.create("run", settings, start=rule_text("lion")) as run:
        run.write_text("best.py", rule_text("lion"))
        run.write_text("table.json", "{}")
        before = {
            path: path.read_bytes() for path in run.path.glob("*.*") if path.suffix != ".lock"
        }
        assert "in use: process" in refusal(*words)
        assert before == {path: path.read_bytes() for path in before}


def test_a_comparison_that_has_only_begun_keeps_its_definition() -> None:
    out = Path("out")
    out.mkdir()
    begin_record(out)
    (out / "comparison.json").write_text(THEIRS)
    begin_record(out, ["comparison.json"])
    lock = acquire_lock(out / "cells.jsonl")
    try:
        assert "another process is writing to out/cells.jsonl" in refusal(*COMPARE)
    finally:
        lock.release()
    assert (out / "comparison.json").read_text() == THEIRS


def test_devices_are_written_to_and_never_replaced() -> None:
    before = Path("/dev/null").stat()
    for force in ((), ("--force",)):
        words = ["export", "lion", "--out", "/dev/null", *force]
        assert CliRunner().invoke(app, words).exit_code == 0
    assert Path("/dev/null").stat().st_ino == before.st_ino
