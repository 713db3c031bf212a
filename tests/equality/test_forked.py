"""A forked process simplifies, or says why it cannot; it never waits forever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing
import optforge
from optforge.errors import SimplifyError

def statements(name):
    try:
        return len(optforge.simplify(name, exact=True).program.statements)
    except SimplifyError as error:
        return str(error)

fork = multiprocessing.get_context("fork")
for _ in range(2):
    with fork.Pool(1) as pool:
        print(pool.apply_async(statements, ("lion",)).get(60))
    print(statements("lion"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_process_simplifies_or_says_why_it_cannot() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    child, parent, later, again = done.stdout.splitlines()
    assert child == parent == again and int(child) > 0
    assert "forked after its parent had simplified" in later and "spawn" in later
