"""Names of files that are not UTF-8, as older systems left them: every verb takes them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import optforge
from optforge.language import rule_text
from optforge.report.pages.write import page_of
from optforge.runs.outputs import write_output
from tests.helpers.searches import small, tiny_plan, train_search
from tests.helpers.tiny import Blobs
from tests.reliability.fuzz import say
from tests.reliability.verbs import TASK

NAME, SHOWN = os.fsdecode(b"b\xe4d"), "b\\udce4d"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_comparison_of_such_files_is_written() -> None:
    """It was trained, and then its report could not be encoded."""
    Path(f"{NAME}.py").write_text(TASK)
    Path(f"{NAME}.txt").write_text(rule_text("lion"))
    few = ("--trials", "1", "--seeds", "2", "--workers", "0", "--out", f"{NAME}.out")
    words = ("--tasks", f"{NAME}.py:Line", "--optimizers", f"adamw,{NAME}.txt", *few)
    assert say(("compare", *words)) == ""
    folder = Path(f"{NAME}.out")
    assert f"{SHOWN}.txt" in (folder / "report.md").read_text(encoding="utf-8")
    assert (folder / "report.json").is_file()
    assert say(("compare", "--resume", "--out", str(folder))) == ""
    assert page_of(folder).state == "finished"


def test_rules_in_such_files_are_shown_simplified_and_exported() -> None:
    Path(f"{NAME}.txt").write_text(rule_text("signum"))
    assert say(("show", f"{NAME}.txt")) == ""
    assert say(("simplify", f"{NAME}.txt", "--exact", "--out", f"{NAME}.md")) == ""
    for target in ("torch", "optax", "latex"):
        words = ("export", f"{NAME}.txt", "--to", target, "--out", f"{NAME}.{target}")
        assert say(words) == ""
        assert Path(f"{NAME}.{target}").read_text(encoding="utf-8")


def test_a_funnel_of_such_a_run_is_written() -> None:
    run = Path(NAME)
    train_search(run, tiny_plan(small(), [Blobs()]), 40)
    optforge.funnel(run, ladder=[Blobs()], trials=1, candidates=1, workers=0)
    assert SHOWN in (run / "funnel" / "funnel.md").read_text(encoding="utf-8")


def test_what_is_written_to_a_device_is_encoded_alike() -> None:
    write_output(Path("/dev/null"), NAME, force=False)
    write_output(Path("file"), NAME, force=False)
    assert Path("file").read_bytes() == SHOWN.encode()
