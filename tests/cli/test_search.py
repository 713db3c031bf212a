"""`optforge search` as a person meets it: real processes, stopped, resumed and finished."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optforge.api import search_options as api
from optforge.cli.app import app
from optforge.cli.conduct import Session
from optforge.cli.plain import PlainDisplay
from optforge.cli.stopping import Stopping
from optforge.evolution import Settings
from optforge.evolution.budget import Budget
from optforge.language import parse
from optforge.runs import RunDirectory

TASKS = """
import torch
from torch import nn
from optforge import Data, Split, Task

class Blobs(Task):
    steps, batch_size = 12, 16
    def data(self):
        generator = torch.Generator().manual_seed(7)
        centres = torch.randn(3, 4, generator=generator)
        def split(count):
            labels = torch.arange(count) % 3
            return Split(centres[labels] + 0.7 * torch.randn(count, 4, generator=generator), labels)
        return Data(split(240), split(90), split(90))
    def model(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

class Other(Blobs):
    steps = 14
"""
SMALL = (
    "search --tasks tasks.py:Blobs --held-out tasks.py:Other --population 50 --workers 1 "
    "--no-compile --trials 4 --constants-programs 10 --in-place 0.25 --rescale 0 --out first"
)


def command(words: str) -> list[str]:
    return [sys.executable, "-m", "optforge", *shlex.split(words)]


def start(words: str, folder: Path) -> subprocess.Popen[str]:
    # A cache of its own: baselines that an earlier run tuned are not tuned again.
    cache = str(folder / "cache")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPTFORGE_CACHE": cache}
    return subprocess.Popen(
        command(words),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], part: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if part in line:
            return lines
    raise AssertionError(f"{part!r} never came:\n{''.join(lines)}\n{process.communicate()[1]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work")
    (path / "tasks.py").write_text(TASKS)
    return path


@pytest.fixture(scope="module")
def stopped(folder: Path) -> str:
    """A search stopped by Ctrl-C; the command that it names to go on, but for the time left."""
    process = start(f"{SMALL} --minutes 9", folder)
    lines = read_until(process, " programs (")
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert any(line.startswith("Tuning AdamW, the baseline, on Blobs, Other") for line in lines)
    assert "The run is in first; Ctrl-C stops it and loses nothing\n" in lines
    assert "\x1b" not in "".join(lines) + rest  # plain lines, since this is no terminal
    assert "As a page: optforge report first\n" in rest
    last = rest.splitlines()[-1]
    named, minutes = last.split(" --minutes ")
    assert named == (
        "Stopped; nothing is lost. Resume with: "
        "optforge search --resume first --tasks tasks.py:Blobs,tasks.py:Other"
    )
    assert 5 < float(minutes) <= 9
    return named.partition("optforge ")[2]


@pytest.fixture(scope="module")
def finished(folder: Path, stopped: str) -> str:
    """What the search prints that was resumed and came to its end."""
    assert (folder / "first" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "first" / "table.json").exists()
    with RunDirectory.open(folder / "first") as run:
        done = run.journal.counts()["proposals"]
    assert done > 0
    process = start(f"{stopped} --programs {done + 100} --workers 0 --no-simplify", folder)
    printed, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return printed


def test_the_named_command_goes_on_to_the_end(folder: Path, finished: str) -> None:
    for part in (
        "the discovered rule",
        "the fair table",
        "Pareto list",
        "Other, held out",
        "±",
        "optforge funnel",
        "optforge explain first",
        "As a page: optforge report first\n",
    ):
        assert part in finished
    assert not any(line.startswith(":") for line in finished.splitlines()), "work without a name"
    with RunDirectory.open(folder / "first") as run:
        numbers = [proposal.number for proposal in run.journal.proposals()]
    assert numbers == list(range(len(numbers))) and len(numbers) > 100


def test_the_files_of_a_run_are_sane(folder: Path, finished: str) -> None:
    path = folder / "first"
    found = json.loads((path / "table.json").read_text())
    assert parse((path / "best.py").read_text()) == parse(found["rule"]["program"])
    assert found["verdict"] in " ".join(finished.split())
    assert [row["name"] for row in found["table"]["rows"]][0] == "tuned AdamW"
    # A sixth of 48, since everything is tuned by four trials alone.
    assert {len(v) for v in found["table"]["rows"][0]["log_test_losses"].values()} == {8}
    assert found["table"]["held_out"] == ["Other"]
    assert found["verdict"] in (path / "table.md").read_text()
    assert (path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((path / "settings.json").read_text())["search"]["population"] == 50
    stored = json.loads((path / "settings.json").read_text())["search"]
    assert (stored["in_place"], stored["rescale"]) == (0.25, 0.0)
    for name in ("best.py", "table.md", "table.json", "history.png", "journal.sqlite"):
        assert f"first/{name}" in finished
    row = next(r for r in found["table"]["rows"] if r["name"] == "discovered")
    for task in ("Blobs", "Other"):  # the rules that the claim is of
        assert f"first/best_{task}.py" in finished
        assert parse((path / f"best_{task}.py").read_text()) == parse(row["rules"][task]["program"])


def test_the_run_is_listed_and_its_rule_can_be_shown(folder: Path, finished: str) -> None:
    listed = CliRunner().invoke(app, ["runs", "--json", str(folder)])
    (run,) = json.loads(listed.stdout)
    assert (run["path"], run["status"]) == (str(folder / "first"), "finished")
    shown = CliRunner().invoke(app, ["show", str(folder / "first" / "best.py")])
    assert shown.exit_code == 0 and "live across steps" in shown.stdout
    of_run = CliRunner().invoke(app, ["show", str(folder / "first")])
    assert of_run.stdout == shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "which is not a shipped one; hand it over again"),
        ("--tasks tasks.py:Blobs", "the task 'Other', which is not a shipped one"),
        ("--tasks tasks.py:Blobs,tasks.py:Other,mnist_mlp", "has no task 'mnist_mlp'"),
        ("--tasks other.py:Blobs,tasks.py:Other", "is not what it was when the run began"),
    ],
)
def test_resuming_wants_the_same_tasks(
    words: str, said: str, folder: Path, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("other.py").write_text(TASKS.replace("0.7", "0.6"))
    done = CliRunner().invoke(app, shlex.split(f"search --resume first {words}"))
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1 and said in line


def test_ctrl_c_before_the_search_leaves_nothing(folder: Path) -> None:
    words = SMALL.replace("first", "second").replace("--trials 4", "--trials 5000")
    process = start(words, folder)
    read_until(process, "Tuning AdamW")
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert "Stopped before the search began; what was trained for the baselines is kept" in rest
    assert not (folder / "second").exists()


def test_the_command_to_go_on_keeps_the_budget(tmp_path: Path) -> None:
    session = Session(PlainDisplay(), Stopping(), [])
    session.directory, session.budget = tmp_path / "a run", Budget(None, 3000)
    words = shlex.split(session.resuming)
    assert words[2:] == ["--resume", str(tmp_path / "a run"), "--programs", "3000"]
    session.budget = Budget(0.1, None)
    assert session.resuming.endswith("--minutes 0.5")


def test_one_signal_asks_and_two_end() -> None:
    with Stopping() as stopping:
        stopping.armed = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_unarmed_signal_ends_at_once() -> None:
    with Stopping(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()


def test_the_help_names_the_defaults_that_hold() -> None:
    told = " ".join(CliRunner().invoke(app, ["search", "--help"]).stdout.replace("│", " ").split())
    per_minute = f"{api.CONSTANTS_A_MINUTE} per minute for at most a day"
    assert f"by default a tenth of --programs, or {per_minute}" in told
    assert "--in-place" in told and f"Default: {Settings.in_place}." in told
    assert "--rescale" in told and f"Default: {Settings.rescale}." in told
