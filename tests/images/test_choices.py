"""Values that are not allowed are refused, by name, with what is allowed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from optforge.errors import TrainingError
from optforge.images import Changes, Machine, make_plan
from optforge.images.processes import processes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 5, "epochs": 1}, "both steps and epochs"),
        ({"lr": -1.0}, "lr is -1.0; allowed is a number above 0"),
        ({"lr": math.nan}, "lr is nan; allowed is a number above 0"),
        ({"epochs": math.inf}, "epochs is inf; allowed is a number above 0"),
        ({"epochs": 0}, "epochs is 0; allowed is a number above 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; allowed is a number from 0"),
        ({"betas": (1.5, 0.9)}, "the first beta is 1.5; allowed is from 0 to below 1"),
        ({"betas": (0.9, -1)}, "the second beta is -1; allowed is from 0 to below 1"),
        ({"betas": (0.9,)}, "allowed are two numbers"),
        ({"ema": 1.0}, "ema is 1.0; allowed is from 0 to below 1"),
        ({"label_smoothing": math.nan}, "label_smoothing is nan"),
        ({"steps": 0}, "steps is 0; allowed are whole numbers from 1"),
        ({"steps": 2.5}, "steps is 2.5; allowed are whole numbers from 1"),
        ({"batch_size": 0}, "batch_size is 0; allowed are whole numbers from 1"),
        ({"image_size": 0}, "image_size is 0; allowed are whole numbers from 1"),
        ({"warmup_steps": -3}, "warmup_steps is -3; allowed are whole numbers from 0"),
    ],
)
def test_changes(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        Changes(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"accumulation": 0}, "accumulation is 0; allowed are whole numbers from 1"),
        ({"accumulation": -1}, "accumulation is -1; allowed are whole numbers from 1"),
        ({"workers": -1}, "workers is -1; allowed are whole numbers from 0"),
        ({"evaluate_every": 0}, "evaluate_every is 0; allowed are whole numbers from 1"),
        ({"checkpoint_every": -1}, "checkpoint_every is -1"),
        ({"stop_after": 0}, "stop_after is 0; allowed are whole numbers from 1"),
        ({"checkpoint_minutes": math.nan}, "checkpoint_minutes is nan; allowed is a number above"),
        ({"precision": "int4"}, "precision 'int4'; allowed are float32"),
    ],
)
def test_machines(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        Machine(**arguments)


@pytest.mark.parametrize(
    ("arguments", "pieces", "said"),
    [
        ({"batch_size": 9}, 2, "a batch of 9 images cannot be cut into 2"),
        ({"batch_size": 9}, -3, "a batch of 9 images cannot be cut into -3"),
        ({"steps": 5, "warmup_steps": 6}, 1, "warmup_steps is 6 in a run of 5 steps"),
    ],
)
def test_plans_that_do_not_fit(arguments: dict[str, Any], pieces: int, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        make_plan("vit_b16", "lion", Changes(**arguments), examples=18, classes=3, pieces=pieces)


@pytest.mark.parametrize(
    ("device", "said"),
    [("meta", "device 'meta' cannot train here; use cpu or cuda"), ("", "no device ''")],
)
def test_devices_that_cannot_train(device: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said), processes(device):
        pass
