"""The schedule: known values, bounds, errors."""

from __future__ import annotations

import pytest

from optforge.errors import TaskError
from optforge.tasks import schedule


def test_known_values() -> None:
    values = [schedule(step, 100, 0.1) for step in range(100)]
    assert values[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert values[9] == max(values) == 1.0
    assert values.count(1.0) == 1
    assert 0 < values[-1] < 1e-3
    assert values[9:] == sorted(values[9:], reverse=True)


@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 150])
def test_peak_is_exactly_one(steps: int, warmup: float) -> None:
    values = [schedule(step, steps, warmup) for step in range(steps)]
    assert max(values) == 1.0
    assert min(values) > 0


@pytest.mark.parametrize(("step", "warmup"), [(-1, 0.1), (10, 0.1), (0, -0.1), (0, 1.5)])
def test_outside_is_refused(step: int, warmup: float) -> None:
    with pytest.raises(TaskError, match="allowed is"):
        schedule(step, 10, warmup)
