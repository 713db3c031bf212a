"""A search in TensorBoard and in Weights & Biases (offline), read back by their own libraries."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import optforge
from optforge.api import run_log
from optforge.api.search_options import SearchOptions
from optforge.errors import SearchError
from optforge.jobs import Silent
from optforge.runs import RunDirectory
from tests.helpers.tiny import Blobs

SMALL: dict[str, Any] = {
    "held_out": (), "population": 20, "workers": 0, "compile": False, "trials": 4,
    "constants_programs": 20, "simplify": False, "fresh_seeds": 3,
}  # fmt: skip


def scalars(path: Path) -> dict[str, dict[int, float]]:
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs tensorboard: pip install 'optforge[log]'",
    )
    read = event_accumulator.EventAccumulator(str(path / "tensorboard"))
    read.Reload()
    return {
        tag: {event.step: event.value for event in read.Scalars(tag)}
        for tag in read.Tags()["scalars"]
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_follows_a_search_and_its_resumption(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'optforge[log]'")
    path = tmp_path / "run"
    seen: list[int] = []

    def stop() -> bool:  # in the search, after the tuning of AdamW
        seen.extend([1] * path.exists())
        return len(seen) > 6

    optforge.search([Blobs()], out=path, programs=120, log="tensorboard", stop=stop, **SMALL)
    first = scalars(path)
    result = optforge.resume(path, tasks=[Blobs()], programs=120, workers=0, log="tensorboard",
                             simplify=False)  # fmt: skip
    logged, history = scalars(path), result.history
    steps = sorted(logged["best/in the search"])
    assert steps[0] > 0 and steps[-1] == history.tally.proposals >= 120
    assert set(first["programs/new"]) <= set(logged["programs/new"])
    best = history.leading(history.phase)[0].fitness
    assert logged["best/in the search"][steps[-1]] == pytest.approx(best, rel=1e-5)
    assert logged["programs/new"][steps[-1]] == history.tally.evaluated


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_and_biases_keeps_a_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="needs wandb: pip install 'optforge[log]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    path = tmp_path / "run"
    optforge.search([Blobs()], out=path, programs=60, log="wandb", **SMALL)
    (file,) = (path / "wandb").glob("offline-run-*/*.wandb")
    content = file.read_bytes()
    assert b"best/in the search" in content and b"programs/judged in full" in content
    assert b"tournament" in content, "the settings"
    assert capfd.readouterr().out == ""


def test_a_log_that_cannot_be_written_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SearchError, match="log is 'mlflow'; use one of tensorboard, wandb"):
        SearchOptions([Blobs()], log="mlflow")
    monkeypatch.setattr(run_log, "find_spec", lambda name: None)
    with pytest.raises(SearchError, match="pip install 'optforge\\[log\\]'"):
        SearchOptions([Blobs()], log="wandb")


class Failing:
    """A log whose service is gone."""

    def __init__(self, directory: RunDirectory) -> None:
        self.calls = list[str]()

    def write(self, values: Any, step: int) -> None:
        self.calls.append("write")
        raise ConnectionError("no route to host")

    def close(self) -> None:
        self.calls.append("close")
        raise ConnectionError("no route to host")


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said = list[str]()

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.slow
def test_a_log_that_fails_later_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "find_spec", lambda name: name)
    monkeypatch.setattr(run_log, "_TensorBoard", Failing)
    heard = Heard()
    result = optforge.search(
        [Blobs()], out=tmp_path / "run", programs=130, log="tensorboard", watch=heard, **SMALL
    )
    assert result.history.tally.proposals >= 130 and (tmp_path / "run" / "table.json").is_file()
    (told,) = [text for text in heard.said if "log is not written" in text]
    assert "ConnectionError: no route to host" in told and "the search goes on" in told


def test_a_log_that_does_not_open_keeps_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: RunDirectory) -> None:
        raise PermissionError("api_key not configured")

    monkeypatch.setattr(run_log, "find_spec", lambda name: name)
    monkeypatch.setattr(run_log, "_TensorBoard", refuse)
    path = tmp_path / "run"
    with pytest.raises(SearchError, match=r"was not opened \(.*not configured\); the run is kept"):
        optforge.search([Blobs()], out=path, programs=3, log="tensorboard", **SMALL)
    resumed = optforge.resume(path, tasks=[Blobs()], programs=3, workers=0, simplify=False)
    assert resumed.history.tally.proposals >= 3


def test_a_service_without_a_key_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would ask for one in mid-work, or raise an error of its own where nobody can answer."""
    monkeypatch.setattr(run_log, "find_spec", lambda name: name)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_CONFIG_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SearchError, match="not logged in; run 'wandb login'.*WANDB_MODE=offline"):
        SearchOptions([Blobs()], log="wandb")
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_API_KEY", "key")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert SearchOptions([Blobs()], log="wandb").log == "wandb"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key")
    assert SearchOptions([Blobs()], log="wandb").log == "wandb"
