"""When the benchmark says that a search has a rule that beats tuned AdamW by 7 %."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from optforge.evolution.history import History
from tests.helpers.searches import small


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from measures import patience

    clock = iter(range(10**6))  # a minute for each look
    monkeypatch.setattr(patience.time, "perf_counter", lambda: 60.0 * next(clock))
    return patience


def shown(watch: Any, *fresh: float) -> None:
    history = History(small(), (0.03, 0.03))
    history.rescored = {str(number): value for number, value in enumerate(fresh)}
    watch.show(history)


def test_it_waits_for_seven_percent_on_fresh_seeds(module: Any) -> None:
    watch = module.Patience(limit=100.0)  # called at 0
    watch.begin()  # at 1
    for fresh in ((), (-0.05,), (-0.05, math.inf, -0.0725)):  # e^-0.0725 = 0.9301
        shown(watch, *fresh)
        assert not watch.ended()  # a look at the clock each: 2, 3, 4
    shown(watch, -0.05, -0.0726)  # e^-0.0726 = 0.92997, at 5
    assert watch.ended()
    assert watch.figures() == {"since_command": 5.0, "since_workers_started": 4.0, "programs": 0}


def test_what_is_not_reached_in_time_is_infinite(module: Any) -> None:
    watch = module.Patience(limit=2.5)
    watch.begin()
    shown(watch, -0.01)
    assert not watch.ended() and not watch.ended() and watch.ended()  # 1, 2 and 3 minutes
    assert math.isinf(watch.figures()["since_command"])
