"""Values that are not allowed are refused, by name, with what is allowed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from paper.images import Config, load_preset
from paper.options import TrainingError, fixed_options


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lr", -1.0, "lr is -1.0; it must be a number above 0"),
        ("lr", math.nan, "lr is nan; it must be a number above 0"),
        ("epochs", math.inf, "epochs is inf; it must be a number above 0"),
        ("epochs", 0, "epochs is 0; it must be a number above 0"),
        ("weight_decay", -0.1, "weight_decay is -0.1; it must be a number of at least 0"),
        ("betas", (1.5, 0.9), "betas is 1.5; it must be a number from 0 to below 1"),
        ("betas", (0.9, -1), "betas is -1; it must be a number from 0 to below 1"),
        ("betas", (0.9,), "it must be two numbers"),
        ("ema", 1.0, "ema is 1.0; it must be a number from 0 to below 1"),
        ("label_smoothing", math.nan, "label_smoothing is nan"),
        ("steps", 0, "steps is 0; it must be a whole number of at least 1"),
        ("steps", 2.5, "steps is 2.5; it must be a whole number of at least 1"),
        ("steps", True, "steps is True; it must be a whole number of at least 1"),
        ("batch_size", 0, "batch_size is 0; it must be a whole number of at least 1"),
        ("image_size", 0, "image_size is 0; it must be a whole number of at least 1"),
        ("warmup_steps", -3, "warmup_steps is -3; it must be a whole number of at least 0"),
        ("accumulation", 0, "accumulation is 0; it must be a whole number of at least 1"),
        ("workers", -1, "workers is -1; it must be a whole number of at least 0"),
        ("evaluate_every", 0, "evaluate_every is 0; it must be a whole number of at least 1"),
        ("checkpoint_every", -1, "checkpoint_every is -1"),
        ("stop_after", 0, "stop_after is 0; it must be a whole number of at least 1"),
        ("checkpoint_minutes", math.nan, "checkpoint_minutes is nan; it must be a number above 0"),
        ("precision", "int4", "precision is 'int4'; it must be float32 or bfloat16 or float16"),
        ("momentum_dtype", "int8", "momentum_dtype is 'int8'; it must be float32 or bfloat16"),
    ],
)
def test_values_that_are_not_allowed(name: str, value: Any, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        load_preset("vit_b16", **{name: value})


def test_steps_replace_the_epochs_of_a_preset_but_not_those_that_are_given() -> None:
    assert load_preset("vit_b16", steps=5).epochs is None
    with pytest.raises(TrainingError, match="both steps and epochs"):
        load_preset("vit_b16", steps=5, epochs=1)


def test_lists_of_a_preset_are_tuples() -> None:
    assert load_preset("vit_b16_augmented").randaugment == (2, 15)


def test_what_a_resumed_training_may_change_is_how_it_runs() -> None:
    fixed = fixed_options(Config())
    assert {"lr", "seed", "precision", "mixup", "reduced"} <= fixed.keys()
    free = {"data", "out", "resume", "workers", "compile", "accumulation", "stop_after", "cpu"}
    assert not free & fixed.keys()
