"""A search on a Ray cluster has the history of one in this process, whatever becomes of nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import optforge
from optforge.errors import SearchError
from optforge.evolution.history import History
from optforge.jobs import Silent
from tests.helpers.ray_nodes import NODE, ray_nodes
from tests.helpers.searches import rows
from tests.helpers.tiny import Blobs

pytest.importorskip("ray", reason="needs the package ray: pip install 'optforge[cluster]'")
# Ray leaves sockets and processes to the garbage collector when a cluster of a test ends.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.timeout(600),
]
SMALL: dict[str, Any] = {
    "programs": 60, "trials": 2, "compile": False, "population": 20, "held_out": (),
    "simplify": False, "fresh_seeds": 3,
}  # fmt: skip
LONG = {**SMALL, "programs": 600}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes, each with a worker; starting them is most of the time."""
    with ray_nodes(2) as nodes:
        yield nodes


class Watching(Silent):
    """Acts on the cluster when the search has seen so many programs."""

    def __init__(self, acts: dict[int, Callable[[], object]]) -> None:
        self.acts = acts

    def show(self, *state: object) -> None:
        (history,) = state
        assert isinstance(history, History)
        for programs in [p for p in self.acts if p <= history.tally.proposals]:
            self.acts.pop(programs)()


def history(run: Path) -> tuple[list[Any], list[Any]]:
    """Proposals and verdicts; deaths of workers are events, and no part of it."""
    found = rows(run / "journal.sqlite")
    return found["proposals"], found["verdicts"]


def test_a_search_on_a_cluster_has_the_history_of_one_process(cluster: Any, tmp_path: Path) -> None:
    there = optforge.search([Blobs()], out=tmp_path / "a", cluster=cluster.address, **SMALL)
    here = optforge.search([Blobs()], out=tmp_path / "b", workers=0, **SMALL)
    assert history(tmp_path / "a") == history(tmp_path / "b")
    assert there.best == here.best and len(history(tmp_path / "a")[0]) >= 60


def test_a_cluster_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="cannot be reached"):
        optforge.search([Blobs()], out=tmp_path / "a", cluster="127.0.0.1:1", **SMALL)
    with pytest.raises(SearchError, match="give HOST:PORT"):
        optforge.search([Blobs()], out=tmp_path / "a", cluster="nowhere", **SMALL)
    with pytest.raises(SearchError, match="workers is 0, but a cluster is given"):
        optforge.search([Blobs()], out=tmp_path / "a", cluster="auto", workers=0, **SMALL)
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_nodes_that_join_and_die_change_nothing(cluster: Any, tmp_path: Path) -> None:
    late: list[Any] = []
    acts: dict[int, Callable[[], object]] = {
        100: lambda: late.append(cluster.add_node(**NODE)),
        300: lambda: cluster.remove_node(late[0], allow_graceful=False),
    }
    run = tmp_path / "a"
    watch = Watching(acts)
    optforge.search([Blobs()], out=run, cluster=cluster.address, watch=watch, **LONG)
    optforge.search([Blobs()], out=tmp_path / "b", workers=0, **LONG)
    assert late and not acts, "a node joined and died"
    assert history(run) == history(tmp_path / "b")


SCRIPT = """
import sys
import optforge
from tests.execution.test_cluster_search import LONG
from tests.helpers.tiny import Blobs
if __name__ == "__main__":
    optforge.search([Blobs()], out=sys.argv[1], cluster=sys.argv[2], **LONG)
"""


@pytest.mark.slow
def test_a_killed_driver_goes_on_where_it_was(cluster: Any, tmp_path: Path) -> None:
    run, file = tmp_path / "a", tmp_path / "killed.py"
    file.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, str(file), str(run), cluster.address], env=environment
    )
    end = time.monotonic() + 500
    while programs_of(run) < 150 and time.monotonic() < end and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 150 <= programs_of(run) < 600, "it was killed in the middle"
    optforge.resume(run, programs=600, cluster=cluster.address, tasks=[Blobs()], simplify=False)
    optforge.search([Blobs()], out=tmp_path / "b", workers=0, **LONG)
    assert history(run) == history(tmp_path / "b")


def programs_of(run: Path) -> int:
    try:
        return len(history(run)[0])
    except Exception:  # not there yet
        return 0
