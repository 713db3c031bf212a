"""A forked process searches and simplifies, or says why it cannot; it never waits forever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, sys
import torch
import optforge
from optforge.errors import SimplifyError
from tests.helpers.tiny import Blobs

torch.set_num_threads(2)  # as a user's process has, and its forked children lack
(torch.ones(600, 600, requires_grad=True) @ torch.ones(600, 600)).sum().backward()

def statements(name):
    try:
        return len(optforge.simplify(name, exact=True).program.statements)
    except SimplifyError as error:
        return str(error)

def searched(folder):
    found = optforge.search([Blobs()], out=folder, programs=8, population=5, repeats=1, confirm=1,
                            trials=1, held_out=[], compile=False, simplify=False)
    return found.history.tally.proposals

fork = multiprocessing.get_context("fork")
with fork.Pool(1) as pool:
    print(pool.apply_async(searched, (sys.argv[1],)).get(60) >= 8)
for _ in range(2):
    with fork.Pool(1) as pool:
        print(pool.apply_async(statements, ("lion",)).get(60))
    print(statements("lion"))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_works_or_says_why_it_cannot(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OPTFORGE_CACHE": str(tmp_path)},
        check=True,
    )
    searched, child, parent, later, again = done.stdout.splitlines()
    assert searched == "True"
    assert child == parent == again and int(child) > 0
    assert "forked after its parent had simplified" in later and "spawn" in later
