"""Comparing, simplifying and the funnel come to the same figures on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import optforge
from optforge.report.simplify.files import simple_rule_json
from tests.helpers.ray_nodes import ray_nodes
from tests.helpers.searches import small, tiny_plan, train_search
from tests.helpers.tiny import Blobs, Sums

pytest.importorskip("ray", reason="needs the package ray: pip install 'optforge[cluster]'")
# Ray leaves sockets and processes to the garbage collector when a cluster of a test ends.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.timeout(600),
    pytest.mark.slow,  # test_cluster_search.py has the one of `make test`
]


@pytest.fixture(scope="module")
def places() -> Iterator[list[dict[str, Any]]]:
    """A cluster of two nodes, and this process."""
    with ray_nodes(2) as nodes:
        yield [{"cluster": nodes.address}, {"workers": 0}]


def test_a_comparison(places: list[dict[str, Any]]) -> None:
    few: dict[str, Any] = {"trials": 4, "seeds": 4, "finalists": 2, "again": 1}
    there, here = (optforge.compare([Blobs()], ["adamw", "lion"], **few, **p) for p in places)
    assert len(here.pairs) == 1 and there.pairs == here.pairs
    for name in ("adamw", "lion"):
        assert there.best_params(name, "Blobs") == here.best_params(name, "Blobs")


def test_a_simplification(places: list[dict[str, Any]]) -> None:
    few: dict[str, Any] = {"looks": (3, 6), "repeats": 3}
    there, here = (optforge.simplify("signum", tasks=[Blobs()], **few, **p) for p in places)
    assert here.trained is not None
    assert simple_rule_json(there) == simple_rule_json(here)


def test_a_funnel(places: list[dict[str, Any]], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_search(run, tiny_plan(small()), 120)
    texts = []
    for number, place in enumerate(places):
        out = tmp_path / str(number)
        optforge.funnel(run, ladder=[Blobs(), Sums()], out=out, trials=4, candidates=3, **place)
        texts.append((out / "funnel.json").read_text())
    assert '"stages"' in texts[1] and texts[0] == texts[1]
