"""Ray started by its own symmetric launch, as Slurm's script does.

It ends with `ray stop`, which ends every Ray process that it sees. So it runs in a PID namespace of
its own, where it sees no other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import optforge
from optforge.runs import Journal
from tests.helpers.tiny import Blobs

pytest.importorskip("ray", reason="needs the package ray: pip install 'optforge[cluster]'")
ROOT = Path(__file__).resolve().parents[2]
APART = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def has_namespaces() -> bool:
    try:
        return subprocess.run([*APART, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.slow,
    pytest.mark.skipif(not has_namespaces(), reason="this user may make no PID namespace"),
]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for Ray, whose names of sockets may have a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        yield Path(folder)


def run_apart(command: list[str], folder: Path, **variables: str) -> str:
    """Run a command where no other Ray is seen; its files lie in a folder of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": str(folder),
        **variables,
    }
    done = subprocess.run(
        [*APART, *command], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


SRUN = """#!/usr/bin/env bash
while [ "$1" != ray ]; do shift; done  # options of srun
exec "$@"
"""


def test_the_script_for_slurm_runs_a_search(tmp_path: Path, short: Path) -> None:
    """Slurm's two commands are stand-ins for a job of one machine; launch and search are real."""
    programs, run = tmp_path / "bin", tmp_path / "run"
    programs.mkdir()
    for name, text in {"scontrol": "#!/bin/sh\necho 127.0.0.1\n", "srun": SRUN}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    task = f"{ROOT / 'tests' / 'helpers' / 'tiny.py'}:Blobs"
    few = "--programs 60 --trials 2 --population 20 --lag 3 --held-out none --no-compile"
    words = ["search", "--tasks", task, *few.split(), "--no-simplify", "--out", str(run)]
    said = run_apart(
        ["bash", str(ROOT / "docs" / "cluster" / "slurm.sh"), *words],
        short,
        PATH=os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        SLURM_JOB_ID="7",
        SLURM_JOB_NODELIST="here",
        SLURM_JOB_NUM_NODES="1",
        SLURM_TMPDIR=str(short),
    )
    assert "On head node" in said
    alone = optforge.search(
        [Blobs()], out=tmp_path / "b", workers=0, programs=60, trials=2, population=20, lag=3,
        held_out=(), compile=False, simplify=False,
    )  # fmt: skip
    assert programs_of(run) == programs_of(alone.path) != []


def programs_of(run: Path) -> list[str]:
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        return [proposal.program for proposal in journal.proposals()]
