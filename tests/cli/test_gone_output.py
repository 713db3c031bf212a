"""Outputs that are closed, full, or gone with their reader: no display fails a run."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from unittest.mock import Mock

import pytest
from rich.console import Console

from optforge.cli import console
from optforge.cli.app import app
from optforge.cli.console import fail, print_anything
from optforge.cli.live import LiveDisplay
from optforge.cli.plain import PlainDisplay
from optforge.errors import RunError
from optforge.runs.guard import disk_errors
from tests.reliability.fuzz import refusal
from tests.reliability.verbs import VERBS, prepare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full and terminals")


def gone(kind: str) -> int:
    """A descriptor that takes nothing: of a terminal, a pipe or a disk."""
    if kind == "disk":
        return os.open("/dev/full", os.O_WRONLY)
    other, ours = os.openpty() if kind == "terminal" else os.pipe()
    os.close(other)
    return ours


@pytest.fixture
def output(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    with open(gone(request.param), "w", buffering=1, encoding="utf-8") as stream:
        yield stream
        with suppress(OSError):  # where nobody has silenced it
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


every_output = pytest.mark.parametrize("output", ["terminal", "pipe", "disk"], indirect=True)


@every_output
@pytest.mark.parametrize("beside", [False, True])
def test_plain_lines_end_and_the_work_goes_on(
    output: TextIO, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"Errno"):  # it is gone indeed
        print("one", file=output, flush=True)
    monkeypatch.setattr(sys, "stderr" if beside else "stdout", output)
    display = PlainDisplay(beside)
    for number in range(3):
        display.say(f"line {number}")
        display.progress("Training", number, 3)
    output.flush()


@pytest.mark.parametrize("output", ["terminal", "disk"], indirect=True)
def test_drawing_ends_and_the_work_goes_on(output: TextIO) -> None:
    with LiveDisplay(Console(file=output, force_terminal=True)) as display:
        assert not display.is_gone
        display.say("Starting")
        assert display.is_gone
        for number in range(3):
            display.progress("Training", number, 3)
            display.say("again")


@pytest.mark.parametrize("output", ["pipe", "disk"], indirect=True)
def test_a_search_whose_output_is_gone_finishes(
    output: TextIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as ended:
        app(VERBS["baselines"].words(tmp_path, 0))
    assert ended.value.code == 0
    assert (tmp_path / "run" / "table.json").is_file()


def test_a_search_without_outputs_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under ``>&- 2>&-``, where Python has no such streams."""
    monkeypatch.chdir(tmp_path)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    for words, code in ((["rules"], 0), (["show", "nothing"], 1), (["nothing"], 2)):
        with pytest.raises(SystemExit) as ended:
            app(words)
        assert ended.value.code == code
    sys.stdout.close(), sys.stderr.close()


@every_output
def test_what_is_only_printed_fails_with_its_output(
    output: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", said)
    with pytest.raises(SystemExit) as ended:
        app(["rules"])
    assert ended.value.code == 1
    lines = said.getvalue().splitlines()
    assert len(lines) <= 1 and all(line.startswith("error: ") for line in lines)
    output.flush()  # nothing is left for the end of the process to fail on


@every_output
def test_an_error_that_nobody_hears_has_its_code(
    output: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", output)
    with pytest.raises(SystemExit) as ended:
        app(["show", "nothing"])
    assert ended.value.code == 1


def test_a_failing_disk_is_a_sentence() -> None:
    with pytest.raises(RunError, match="a file cannot be used: .*x"), disk_errors():
        raise OSError(errno.EIO, os.strerror(errno.EIO), "x")
    # A write knows no name: it may be the output, on another disk than the directory's.
    said = "a file or the output cannot be written: No space left .*; free some space, then"
    with pytest.raises(RunError, match=said), disk_errors():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        ImportError("lib.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_missing_memory_is_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optforge.cli.tasks.task_names", Mock(side_effect=error))
    assert "not enough memory; give fewer workers" in refusal("tasks")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone"), "gone cannot be"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "cells"), "Is a directory (cells)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_system_refuses_is_a_sentence(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optforge.cli.tasks.task_names", Mock(side_effect=error))
    assert said in refusal("tasks")


def test_no_memory_for_the_sentence_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "Console", Mock(side_effect=MemoryError))
    fail("there is not enough\nmemory")
    assert capsys.readouterr().err.strip() == "error: there is not enough memory"


def test_outputs_whose_files_are_gone_or_that_a_task_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed, lost = (open(os.devnull, "w", encoding="ascii") for _ in range(2))  # noqa: SIM115
    closed.close()
    os.close(lost.fileno())
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", lost)
    try:
        print_anything()
        print("±")
        sys.stdout.close()
    finally:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != lost.fileno():
            os.dup2(nowhere, lost.fileno())
            os.close(nowhere)
        lost.close()


def test_what_a_task_prints_to_nobody_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ``| head``, where the reader may go while the user's code prints."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(
        file.read_text().replace("return Data", "print('x' * 100_000)\n        return Data")
    )
    with open(gone("pipe"), "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(PlainDisplay, "say", lambda *_: None)  # which would notice
        with pytest.raises(SystemExit) as ended:
            app(VERBS["baselines"].words(tmp_path, 0))
        console.silence(stream)
    assert ended.value.code == 1 and (tmp_path / "run" / "table.json").is_file()
