"""Stopped or killed at any moment, a comparison ends with the figures of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from optforge import compare
from optforge.api.comparison import Destination, conduct
from optforge.api.keywords import WorkOptions
from optforge.comparison import CELLS, CellTable, Comparison
from optforge.errors import CompareError
from tests.helpers.comparisons import few
from tests.helpers.tiny import Blobs

TIMES = {"step_ms", "seconds", "peak_mb", "time_to_target", "sessions"}
SCRIPT = """
import sys
from tests.helpers.comparisons import few
from optforge.api.comparison import Destination, conduct
from optforge.api.keywords import WorkOptions
place = Destination(sys.argv[1], resume=True, figures=False)
conduct(few("adamw", "lion", sensitivity=3, studies=1), place, WorkOptions(workers=0))
"""
ALONE = WorkOptions(workers=0)


def kept(path: Path) -> Destination:
    return Destination(path, resume=True, figures=False)


def asked() -> Comparison:
    return few("adamw", "lion", sensitivity=3, studies=1)


def figures(path: Path) -> Any:
    """The report without what a clock says."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(one) for name, one in value.items() if name not in TIMES}
        return [strip(one) for one in value] if isinstance(value, list) else value

    return strip(json.loads((path / "report.json").read_text()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    conduct(asked(), kept(path), ALONE)
    return path


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_going_on_from_any_part_of_the_table_changes_no_figure(
    whole: Path, tmp_path: Path, share: float
) -> None:
    content = (whole / CELLS).read_bytes()
    (tmp_path / CELLS).write_bytes(content[: int(share * len(content))])
    conduct(asked(), kept(tmp_path), ALONE)
    assert figures(tmp_path) == figures(whole)


@pytest.mark.slow
def test_a_process_killed_with_signal_9_goes_on(whole: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment)
    try:
        _wait_for_lines(tmp_path / CELLS, 20, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with CellTable(tmp_path / CELLS, write=False) as table:
        done = len(table)
    assert done >= 19
    conduct(asked(), kept(tmp_path), ALONE)
    with CellTable(tmp_path / CELLS, write=False) as table, CellTable(whole / CELLS, False) as all_:
        assert done < len(table) == len(all_)
    assert figures(tmp_path) == figures(whole)


def _wait_for_lines(path: Path, least: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= least:
            return
        time.sleep(0.002)
    raise AssertionError(f"{least} cells were not written; it ended with {process.poll()}")


def test_a_finished_comparison_is_read_without_training(whole: Path) -> None:
    before = (whole / CELLS).read_bytes()
    report = figures(whole)
    result = conduct(asked(), kept(whole), ALONE)
    assert (whole / CELLS).read_bytes() == before
    assert figures(whole) == report and not result.stopped


def test_a_stop_leaves_what_is_finished(tmp_path: Path) -> None:
    calls = iter(range(1000))
    result = conduct(
        asked(),
        Destination(tmp_path, figures=False),
        WorkOptions(workers=0, stop=lambda: next(calls) > 10),
    )
    assert result.stopped and result.findings.tasks == ()
    with CellTable(tmp_path / CELLS, write=False) as table:
        assert len(table) == 11


def test_a_directory_that_is_taken_is_not_overwritten(whole: Path) -> None:
    with pytest.raises(CompareError, match="go on with such runs.*resume=True"):
        compare(["digits_mlp"], ["adamw"], out=whole)


def test_the_python_interface_takes_title_claim_and_device() -> None:
    few_runs: dict[str, Any] = {
        "trials": 1,
        "seeds": 1,
        "finalists": 1,
        "again": 0,
        "extensions": 0,
    }
    asked = {"title": "A title", "claim": "a claim", "device": "cpu", "workers": 0, **few_runs}
    result = compare([Blobs()], ["adamw"], **asked)
    assert result.comparison.device == "cpu"
    assert result.markdown.startswith("# A title\n\nPut to the test: a claim\n")
