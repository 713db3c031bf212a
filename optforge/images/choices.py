"""What one may choose about a training, and which values are allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optforge.errors import TrainingError

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Changes:
    """What of a preset is replaced; None leaves the preset's.

    Args:
        lr: Peak learning rate.
        weight_decay: As ``OptimizerSettings`` has it.
        betas: Of the optimizer.
        epochs: Passes over the data.
        steps: Optimizer steps, in place of epochs.
        batch_size: Images a step, all processes together.
        warmup_steps: Steps in which the rate rises.
        image_size: Pixels along one edge.
        momentum_dtype: Of Lion's and Adafactor's momentum.
        label_smoothing: Share of the label spread over all classes.
        ema: Decay of a running mean of the weights, which is then what is evaluated.
        reduced: A tiny model of the same kind, to try the pipeline.
        seed: Of initialisation, order, augmentation and dropout.

    Raises:
        TrainingError: Naming a value that is not allowed, and what is.
    """

    lr: float | None = None
    weight_decay: float | None = None
    betas: tuple[float, float] | None = None
    epochs: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    warmup_steps: int | None = None
    image_size: int | None = None
    momentum_dtype: str = "bfloat16"
    label_smoothing: float = 0.0
    ema: float | None = None
    reduced: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        chosen = vars(self)
        _check_whole(chosen, {"steps": 1, "batch_size": 1, "warmup_steps": 0, "image_size": 1})
        for key in ("lr", "epochs"):
            _check_number(key, chosen[key], "a number above 0", lambda x: x > 0)
        _check_number("weight_decay", self.weight_decay, "a number from 0", lambda x: x >= 0)
        shares = {"label_smoothing": self.label_smoothing, "ema": self.ema}
        if self.betas is not None:
            if len(self.betas) != 2:
                raise TrainingError(f"betas are {self.betas}; allowed are two numbers")
            shares |= {"the first beta": self.betas[0], "the second beta": self.betas[1]}
        for key, value in shares.items():
            _check_number(key, value, "from 0 to below 1", lambda x: 0 <= x < 1)
        if self.steps is not None and self.epochs is not None:
            raise TrainingError("both steps and epochs are given; give one")


@dataclass(frozen=True)
class Machine:
    """How a training runs.

    Accumulation and precision belong to the plan: with others, chance and batch norm are others
    too, so that resuming refuses them. The rest may change between two sessions; what is computed
    is the same then, up to rounding, on one kind of device.

    Args:
        accumulation: Micro-batches that a process computes one after another.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        compile: Whether to compile the model.
        workers: Processes that read pictures.
        device: ``cpu`` or ``cuda``; None takes what is there.
        evaluate_every: Steps between evaluations; None: ten times in the run.
        checkpoint_every: Steps between checkpoints; None: with every evaluation.
        checkpoint_minutes: A checkpoint follows the one before after so many minutes at the
            latest; infinity: after steps alone.
        stop_after: End after so many steps more, with a checkpoint; for limits of queues.

    Raises:
        TrainingError: Naming a value that is not allowed, and what is.
    """

    accumulation: int = 1
    precision: str = "float32"
    compile: bool = False
    workers: int = 0
    device: str | None = None
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    checkpoint_minutes: float = 30.0
    stop_after: int | None = None

    def __post_init__(self) -> None:
        least = {"accumulation": 1, "workers": 0}
        least |= {"evaluate_every": 1, "checkpoint_every": 1, "stop_after": 1}
        _check_whole(vars(self), least)
        if not self.checkpoint_minutes > 0:
            raise TrainingError(
                f"checkpoint_minutes is {self.checkpoint_minutes}; allowed is a number above 0"
            )
        check_precision(self.precision)


def check_precision(precision: str) -> None:
    """Refuse what is not there.

    Raises:
        TrainingError: Naming what is allowed.
    """
    if precision not in PRECISIONS:
        raise TrainingError(f"precision {precision!r}; allowed are {', '.join(PRECISIONS)}")


def _check_whole(chosen: Mapping[str, Any], least: Mapping[str, int]) -> None:
    for key, low in least.items():
        value = chosen[key]
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < low
        ):
            raise TrainingError(f"{key} is {value}; allowed are whole numbers from {low}")


def _check_number(key: str, value: Any, allowed: str, fits: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or not math.isfinite(value) or not fits(value):
        raise TrainingError(f"{key} is {value}; allowed is {allowed}")
