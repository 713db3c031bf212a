"""Files: found whatever their path holds, and never replaced if somebody else wrote them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from optforge.api.comparison import prepare
from optforge.errors import OptforgeError, RunError
from optforge.files import (
    RECORD,
    ForeignFileError,
    begin_record,
    check_own,
    is_file,
    read_text,
    replace_own,
    split_class,
    split_list,
    split_name,
)
from optforge.runs.directory import check_free
from optforge.runs.outputs import check_output

PLACES = (
    "first", "first one", "2021-08-10T15:21:43", "lr=0.1", "lr=0.1,wd=0.01", "[a] 50%#1?", "größe",
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_there_is_found_before_any_splitting(place: str) -> None:
    file = f"runs/{place}/best.py"
    Path(file).parent.mkdir(parents=True)
    Path(file).write_text("x")
    assert split_name(file) == ("", file)
    assert split_name(f"mine={file}") == ("mine", file)
    assert split_name(f"mine={file}:Mine") == ("mine", f"{file}:Mine")
    assert split_class(file) == (file, "")
    assert split_class(f"{file}:Mine") == (file, "Mine")
    text = f"adamw, {file},twin=lion, mine={file}:Mine,"
    assert split_list(text) == ["adamw", file, "twin=lion", f"mine={file}:Mine"]


def test_what_is_no_file_is_split_at_its_signs() -> None:
    assert split_name("a=b=c") == ("a=b", "c")
    assert split_class("folder:x/mine.py:Line") == ("folder:x/mine.py", "Line")
    assert split_class("C:\\runs\\mine.py:Line") == ("C:\\runs\\mine.py", "Line")
    assert split_list("lr, betas,,") == ["lr", "betas"]
    assert not is_file("\0") and not is_file("x" * 5000)


def test_a_byte_order_mark_is_no_text() -> None:
    Path("suite.toml").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert read_text(Path("suite.toml")) == "a = 1\n"


def test_only_own_files_are_replaced() -> None:
    folder = Path("run")
    folder.mkdir()
    (folder / "mine.py").write_text("mine")
    begin_record(folder)
    replace_own(folder / "best.py", "one")
    replace_own(folder / "best.py", "two")
    check_own(folder, ["best.py", "none.py"])
    for name in ("mine.py", "best.py"):
        (folder / name).write_text("changed by hand")
        with pytest.raises(ForeignFileError, match=f"{name} was not written by optforge"):
            replace_own(folder / name, "three")
        assert (folder / name).read_text() == "changed by hand"
    begin_record(folder, ["mine.py"])
    replace_own(folder / "mine.py", "three")
    assert (folder / "mine.py").read_text() == "three"


def test_a_file_is_known_as_own_before_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the process ends, neither the old nor the new content is taken for another's."""
    begin_record(Path())
    replace_own(Path("best.py"), "one")
    replace_own(Path("best.py"), "two")
    for content in ("one", "two"):
        Path("best.py").write_text(content)
        check_own(Path(), ["best.py"])
    assert len(json.loads(Path(RECORD).read_text())["best.py"]) == 2


def test_a_directory_of_an_earlier_version_has_no_record_and_goes_on() -> None:
    Path("best.py").write_text("from an earlier version")
    replace_own(Path("best.py"), "new")
    assert Path("best.py").read_text() == "new" and not Path(RECORD).exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"best.py": 3}', "\0", pytest.param("[" * 100_000, id="deep")]
)
def test_a_damaged_record_lets_nothing_be_replaced(content: str) -> None:
    begin_record(Path())
    replace_own(Path("best.py"), "one")
    Path(RECORD).write_text(content)
    with pytest.raises(ForeignFileError, match="or give --force"):
        replace_own(Path("best.py"), "two")
    assert Path("best.py").read_text() == "one"
    begin_record(Path(), ["best.py"])
    replace_own(Path("best.py"), "two")
    assert Path("best.py").read_text() == "two"


@pytest.mark.parametrize("content", ["my own", "{", "[3]", '{"a": 1}'])
def test_a_file_with_the_name_of_a_record_is_kept_unless_forced(content: str) -> None:
    Path(RECORD).write_text(content)
    for begin in (lambda: begin_record(Path()), lambda: prepare(Path(), resume=False)):
        with pytest.raises(ForeignFileError, match=f"{RECORD} was not written by optforge"):
            begin()
        assert Path(RECORD).read_text() == content
    prepare(Path(), resume=False, force=True)
    assert json.loads(Path(RECORD).read_text()) == {}


def test_a_directory_in_the_place_of_a_file_is_not_own() -> None:
    begin_record(Path(), ["best.py"])  # nor is it with force, which is then not advised
    Path("best.py").mkdir()
    with pytest.raises(ForeignFileError, match="best.py is a directory; (?!.*--force)"):
        replace_own(Path("best.py"), "new")


def test_a_link_that_leads_nowhere_is_kept_as_a_file_is() -> None:
    """It was replaced, although it is the user's."""
    Path("best.py").symlink_to("not/mounted/now.py")
    begin_record(Path())
    with pytest.raises(ForeignFileError, match="best.py"):
        replace_own(Path("best.py"), "new")
    with pytest.raises(OptforgeError, match="best.py exists already"):
        check_output(Path("best.py"), force=False)
    with pytest.raises(RunError, match="holds a file best.py"):
        check_free(Path())
    assert os.readlink("best.py") == "not/mounted/now.py"
    begin_record(Path(), ["best.py"])  # with --force
    replace_own(Path("best.py"), "new")
    assert Path("best.py").read_text() == "new"
