"""What is printed never fails for the encoding of the output."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import optforge
from optforge.cli.app import app
from optforge.cli.console import fail, print_anything, screen
from optforge.cli.stopping import Stopping
from optforge.errors import OptforgeError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_any_sign_can_be_printed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, stream in raw.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding=encoding))
    print_anything()
    screen().print("0.5 ± 0.1 größer −1 ≤ β │ ▁▂▃")
    fail("größe ± is not there")
    for name, stream in raw.items():
        getattr(sys, name).flush()
        text = stream.getvalue().decode(encoding)
        assert ("0.5 " if name == "stdout" else "error: gr") in text
        assert ("±" in text) == (encoding != "ascii")


def test_a_locale_without_utf_8_and_no_home(tmp_path: Path) -> None:
    """Names of files are bytes there; text is written as UTF-8 all the same."""
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "OPTFORGE_CACHE")}
    (tmp_path / "größe").mkdir()
    words = ["simplify", "lion", "--exact", "-o", "größe/simple.md"]
    done = subprocess.run(
        [sys.executable, "-m", "optforge", *words],
        cwd=tmp_path,
        env=environment | plain | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=200,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "def train" in (tmp_path / "größe" / "simple.md").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["größe"]


def test_a_deleted_directory_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries of torch end a process there without a word."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(OptforgeError, match=r"directory was deleted.*change to another"):
        optforge.simplify("lion", exact=True)
    result = CliRunner().invoke(app, ["rules"])
    assert result.exit_code == 1 and "was deleted" in result.stderr


def test_a_handler_that_python_did_not_set_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[int, object] = {}
    monkeypatch.setattr(signal, "signal", lambda number, new: handlers.update({number: new}))
    with Stopping():
        assert set(handlers) == {signal.SIGINT, signal.SIGTERM}
    assert None not in handlers.values()
