"""Paths that can be no files: a sentence from every verb."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optforge.errors import TaskError
from optforge.tasks.paper.folder import data_folder
from tests.reliability.fuzz import say

VERBS = (
    ("runs",), ("report",), ("explain",), ("show",), ("funnel",), ("search", "--resume"),
    ("compare", "--resume", "--out"), ("compare", "--suite"), ("simplify", "--exact"),
    ("export", "lion", "--out"), ("report", ".", "--out"),
    ("search", "--tasks", "digits_mlp", "--out"),
    ("compare", "--tasks", "digits_mlp", "--optimizers", "adamw,lion", "--workers", "0", "--out"),
)  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_what_can_be_no_file_is_told(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").write_text("mine")
    for path in ("x" * 300, "loop/x", "file/x", "/dev/null/x"):
        assert say((*words, path)) == "", path
    assert sorted(path.name for path in Path().iterdir()) == ["file", "loop"]


def test_data_in_a_home_that_is_not_known_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pathlib raises an error of its own there."""
    monkeypatch.setenv("OPTFORGE_DATA", "~/data")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(TaskError, match="pictures in ~/data/images, which is not a folder"):
        data_folder("images", "pictures")
