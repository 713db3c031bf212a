"""The schedule: known values, bounds, errors."""

from __future__ import annotations

import math

import pytest

from optforge.errors import TaskError
from optforge.tasks import Schedule, schedule


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


def test_a_schedule_without_options_is_the_function() -> None:
    for steps in (1, 2, 7, 150):
        assert Schedule().values(steps) == [schedule(step, steps) for step in range(steps)]


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_the_shape_is_its_formula(warmup: float, power: float, final: float) -> None:
    steps, peak = 50, max(1, round(50 * warmup))
    values = Schedule(warmup, power, final).values(steps)
    for step, value in enumerate(values):
        if step < peak:  # the warm-up knows neither the power nor the final value
            assert value == pytest.approx((step + 1) / peak)
            continue
        cosine = 0.5 * (1 + math.cos(math.pi * (step - peak + 1) / (steps - peak + 1)))
        assert value == pytest.approx(final + (1 - final) * cosine**power)
    assert max(values) == values[peak - 1] == 1.0
    assert values[peak - 1 :] == sorted(values[peak - 1 :], reverse=True)
    assert min(values[peak - 1 :]) >= final


@pytest.mark.parametrize(
    "shape",
    [{"warmup": -0.1}, {"warmup": 1.1}, {"final": -0.1}, {"final": 1.5}, {"warmup": math.nan}]
    + [{"power": 0.0}, {"power": -1.0}, {"power": math.inf}, {"power": math.nan}],
)
def test_a_shape_outside_of_its_range_is_refused(shape: dict[str, float]) -> None:
    (name,) = shape
    with pytest.raises(TaskError, match=f"{name} of a schedule is .*allowed is"):
        Schedule(**shape)


def test_a_step_outside_of_the_run_is_refused() -> None:
    with pytest.raises(TaskError, match="allowed is 0 to 9"):
        Schedule(power=0.5).value(10, 10)
