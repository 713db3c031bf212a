"""Workers on a real Ray cluster of several nodes, all processes of this machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from optforge.errors import SearchError
from optforge.execution import ClusterPool, Completed, Failed, InlineExecutor
from tests.execution.factories import answers, broken, dying
from tests.helpers.ray_nodes import NODE, ray_nodes

ray = pytest.importorskip("ray", reason="needs the package ray: pip install 'optforge[cluster]'")
# Ray leaves sockets and processes to the garbage collector when a cluster of a test ends.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.timeout(300),
    pytest.mark.slow,  # test_cluster_search.py has the one of `make test`
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes: two for most tests, the third for what a single test adds."""
    with ray_nodes(3) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[ClusterPool]:
    with ClusterPool(answers, cluster.address, workers=2, timeout=60.0) as pool:
        yield pool


def gather(pool: Any, jobs: dict[int, tuple[str, object]]) -> dict[int, Completed | Failed]:
    for key, job in jobs.items():
        pool.submit(key, job)
    outcomes = [pool.next() for _ in jobs]
    return {outcome.key: outcome for outcome in outcomes if outcome is not None}


def test_two_nodes_answer_every_job_once(pool: ClusterPool) -> None:
    outcomes = gather(pool, {key: ("double", key) for key in range(30)})
    assert [outcomes[key].result for key in range(30)] == [2 * key for key in range(30)]  # type: ignore[union-attr]
    pids = {outcome.result for outcome in gather(pool, sleepers(20)).values()}  # type: ignore[union-attr]
    assert len(pids) == 2
    assert pool.outstanding == 0 and pool.ready == 2


def sleepers(count: int) -> dict[int, tuple[str, object]]:
    return {key: ("pid", None) for key in range(count)}


def test_the_numbers_are_those_of_this_process(pool: ClusterPool) -> None:
    jobs: dict[int, tuple[str, object]] = {seed: ("numbers", seed) for seed in range(3)}
    expected = gather(InlineExecutor(answers), jobs)
    found = gather(pool, jobs)
    for seed in jobs:
        assert found[seed].result == expected[seed].result  # type: ignore[union-attr]


def test_exceptions_and_deaths_are_outcomes(pool: ClusterPool) -> None:
    jobs: dict[int, tuple[str, object]] = {
        0: ("divide", 0),
        1: ("signal", signal.SIGKILL),
        3: ("unpicklable", 1),
        4: ("double", 4),
        5: ("sys.exit", 3),
    }
    outcomes = gather(pool, jobs)
    reasons = {key: getattr(outcome, "reason", "") for key, outcome in outcomes.items()}
    assert reasons == {0: "error", 1: "died", 3: "error", 4: "", 5: "error"}
    assert "ZeroDivisionError" in outcomes[0].detail  # type: ignore[union-attr]
    assert gather(pool, {9: ("double", 2)})[9].result == 4  # type: ignore[union-attr]


def test_what_is_abandoned_is_not_returned(pool: ClusterPool) -> None:
    for key in (1, 2, 3):
        pool.submit(key, ("sleep", 0.3))
    pool.abandon(60.0)
    outcomes = gather(pool, {key: ("double", key) for key in (1, 2, 3)})
    assert [outcomes[key].result for key in (1, 2, 3)] == [2, 4, 6]  # type: ignore[union-attr]


def test_a_job_that_hangs_is_ended(cluster: Any) -> None:
    with ClusterPool(answers, cluster.address, workers=1, timeout=1.0) as pool:
        outcomes = gather(pool, {1: ("sleep", 100), 2: ("double", 2)})
    assert getattr(outcomes[1], "reason", "") == "timeout"
    assert outcomes[2].result == 4  # type: ignore[union-attr]


def test_keys_are_unique_and_waiting_for_nothing_is_an_error(pool: ClusterPool) -> None:
    with pytest.raises(SearchError, match="no job to wait for"):
        pool.next(timeout=0.1)
    pool.submit(1, ("sleep", 0.5))
    with pytest.raises(SearchError, match="key 1 is waiting already"):
        pool.submit(1, ("double", 1))
    assert pool.next(timeout=0.05) is None
    assert pool.next() == Completed(1, None, pytest.approx(0.5, abs=2))


def test_a_node_that_joins_is_used_and_one_that_dies_loses_nothing(
    cluster: Any, pool: ClusterPool
) -> None:
    del pool  # it has two of the three cores
    with ClusterPool(answers, cluster.address) as growing:
        join_and_die(cluster, growing)


def join_and_die(cluster: Any, pool: ClusterPool) -> None:
    late = cluster.add_node(**NODE)
    end = time.monotonic() + 60
    while pool.ready < 2 and time.monotonic() < end:
        gather(pool, {0: ("sleep", 0.2)})
    assert pool.ready == 2
    for key in range(12):
        pool.submit(key, ("sleep", 0.5))
    first = pool.next()
    cluster.remove_node(late, allow_graceful=False)
    outcomes = [first, *(pool.next() for _ in range(11))]
    assert sorted(outcome.key for outcome in outcomes if outcome) == list(range(12))
    lost = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert len(lost) <= 1 and all(failure.reason == "died" for failure in lost)


@pytest.mark.parametrize(
    ("factory", "reason"), [(broken, "data set is missing"), (dying, "end be")]
)
def test_a_factory_that_fails_is_said_so(cluster: Any, factory: Any, reason: str) -> None:
    pool = ClusterPool(factory, cluster.address, workers=1)
    pool.submit(1, ("double", 1))
    with pytest.raises(SearchError, match=reason):
        pool.next()
    with pytest.raises(SearchError, match="closed"):
        pool.submit(2, ("double", 1))


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"threads": 0}, {"timeout": 0.0}, {"timeout": float("nan")}]
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SearchError, match="at least 1"):
        ClusterPool(answers, **options)
