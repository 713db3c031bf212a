"""The simulation of a cluster, where its answer is known on paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("simpy", reason="needs the package simpy: pip install 'optforge[dev]'")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from measures import cluster_model

    return cluster_model


@pytest.fixture
def times(model: Any) -> Any:
    """Every batch is 100 programs and 2 seconds; the driver needs next to nothing."""
    return model.ServiceTimes(
        judging=(2.0,), proposals=(100,), rescoring=0.0, rescored=0.0, drawing=1e-9, sending=0.0,
        receiving=0.0, committing=0.0, writing=0.0,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 4, 50])
def test_workers_with_enough_batches_never_wait(model: Any, times: Any, workers: int) -> None:
    load = model.simulate(times, model.Layout(workers, 2 * workers))
    assert load.programs == pytest.approx(100 * workers / 2, rel=0.02)
    assert load.waiting == pytest.approx(0, abs=0.02)
    assert load.behind == 200 * workers


def test_no_more_workers_are_busy_than_batches_are_on_their_way(model: Any, times: Any) -> None:
    load = model.simulate(times, model.Layout(workers=12, lag=3))
    assert load.programs == pytest.approx(3 * 100 / 2, rel=0.02)
    assert load.waiting == pytest.approx(0.75, abs=0.01)


def test_a_busy_driver_is_the_limit_and_islands_lift_it(model: Any, times: Any) -> None:
    slow = replace(times, drawing=0.001, committing=0.1)  # 0.2 s a batch: ten workers' worth
    assert slow.driving() == pytest.approx(0.2)
    alone = model.simulate(slow, model.Layout(workers=40, lag=80))
    assert alone.programs == pytest.approx(100 / 0.2, rel=0.02)
    assert alone.driving == pytest.approx(1) and alone.waiting == pytest.approx(0.75, abs=0.02)
    together = model.simulate(slow, model.Layout(workers=40, lag=80, together=100))
    assert together.programs == pytest.approx(100 / 0.101, rel=0.02)
    islands = model.simulate(slow, model.Layout(workers=40, lag=16, islands=8))
    assert islands.programs == pytest.approx(40 * 100 / 2, rel=0.1)


def test_in_order_means_waiting_for_the_slowest(model: Any, times: Any) -> None:
    mixed = replace(times, judging=(0.1, 0.1, 0.1, 9.7), proposals=(100,) * 4)
    assert mixed.working() == pytest.approx(2.5)
    tight = model.simulate(mixed, model.Layout(workers=16, lag=16))
    loose = model.simulate(mixed, model.Layout(workers=16, lag=160))
    assert tight.waiting > 0.3 > 0.02 > loose.waiting


def test_measuring_leaders_takes_workers_too(model: Any, times: Any) -> None:
    both = replace(times, rescoring=2.0, rescored=1.0)
    load = model.simulate(both, model.Layout(workers=4, lag=8))
    assert load.programs == pytest.approx(4 * 100 / 4, rel=0.02)
    assert both.working() == 4.0
