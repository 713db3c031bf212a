"""What exactly will be trained: a preset, what was changed in it, and the size of the data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from optforge.errors import TrainingError
from optforge.images.optimizers import check_optimizer
from optforge.images.presets import ImagePreset, OptimizerSettings, preset

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Changes:
    """What of a preset is replaced; None leaves the preset's.

    Args:
        lr: Peak learning rate.
        weight_decay: Decoupled.
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


@dataclass(frozen=True)
class Plan:
    """A training with all its numbers; a checkpoint carries it, and resuming compares it.

    Args:
        preset: Name of the preset.
        optimizer: Name of the optimizer.
        settings: Of the optimizer.
        steps: Optimizer steps of the whole run.
        batch_size: Images a step.
        pieces: Micro-batches a step: processes times accumulation.
        warmup_steps: Steps in which the rate rises.
        image_size: Pixels along one edge.
        classes: Number of classes.
        examples: Training images.
        momentum_dtype: See ``Changes``; the same holds for the rest.
    """

    preset: str
    optimizer: str
    settings: OptimizerSettings
    steps: int
    batch_size: int
    pieces: int
    warmup_steps: int
    image_size: int
    classes: int
    examples: int
    momentum_dtype: str
    label_smoothing: float
    ema: float | None
    reduced: bool
    precision: str
    seed: int

    @property
    def source(self) -> ImagePreset:
        """The preset."""
        return preset(self.preset)

    @property
    def piece(self) -> int:
        """Images of a micro-batch."""
        return self.batch_size // self.pieces


def make_plan(
    name: str,
    optimizer: str,
    changes: Changes,
    *,
    examples: int,
    classes: int,
    pieces: int = 1,
    precision: str = "float32",
) -> Plan:
    """Put preset, changes and data together, and refuse what does not fit.

    The warm-up is the preset's, but at most a fifth of the run, so that short runs have one too.

    Args:
        name: Of the preset.
        optimizer: Name of the optimizer.
        changes: To the preset.
        examples: Training images.
        classes: Number of classes.
        pieces: Micro-batches a step, a divisor of the batch.
        precision: ``float32``, or ``bfloat16`` or ``float16`` for automatic mixed precision.

    Raises:
        TrainingError: Naming what is wrong or missing.

    Example:
        >>> plan = make_plan("vit_b16", "lion", Changes(), examples=1_281_167, classes=1000)
        >>> plan.steps, plan.warmup_steps, plan.settings.lr
        (93835, 10000, 0.001)
    """
    source = preset(name)
    batch = changes.batch_size or source.batch_size
    _check(batch, pieces, precision, changes)
    steps = _steps(source, changes, examples, batch)
    warmup = changes.warmup_steps
    if warmup is None:
        warmup = min(source.warmup_steps, max(1, steps // 5))
    return Plan(
        preset=name,
        optimizer=optimizer,
        settings=_settings(source, optimizer, changes),
        steps=steps,
        batch_size=batch,
        pieces=pieces,
        warmup_steps=min(warmup, steps),
        image_size=changes.image_size or source.image_size,
        classes=classes,
        examples=examples,
        momentum_dtype=changes.momentum_dtype,
        label_smoothing=changes.label_smoothing,
        ema=changes.ema,
        reduced=changes.reduced,
        precision=precision,
        seed=changes.seed,
    )


def _check(batch: int, pieces: int, precision: str, changes: Changes) -> None:
    if precision not in PRECISIONS:
        raise TrainingError(f"precision {precision!r}; allowed are {', '.join(PRECISIONS)}")
    if batch < 1 or batch % pieces:
        raise TrainingError(
            f"a batch of {batch} images cannot be cut into {pieces} equal parts (processes times "
            "accumulation); change the batch size or the accumulation"
        )
    for key, low, high in (("label_smoothing", 0.0, 1.0), ("ema", 0.0, 1.0)):
        value = getattr(changes, key)
        if value is not None and not low <= value < high:
            raise TrainingError(f"{key} is {value}; allowed is from {low:g} to below {high:g}")
    for key in ("lr", "epochs", "steps", "image_size"):
        value = getattr(changes, key)
        if value is not None and value <= 0:
            raise TrainingError(f"{key} is {value}; it must be above 0")


def _steps(source: ImagePreset, changes: Changes, examples: int, batch: int) -> int:
    if changes.steps is not None and changes.epochs is not None:
        raise TrainingError("both steps and epochs are given; give one")
    if changes.steps is not None:
        return changes.steps
    epochs = changes.epochs or source.epochs
    if epochs is None:
        raise TrainingError(
            f"the paper gives no budget for {source.name} ({source.data}); give epochs or steps"
        )
    return max(1, round(epochs * examples / batch))


def _settings(source: ImagePreset, optimizer: str, changes: Changes) -> OptimizerSettings:
    check_optimizer(optimizer, changes.momentum_dtype)
    found = source.settings_of(optimizer)
    given = {"lr": changes.lr, "weight_decay": changes.weight_decay, "betas": changes.betas}
    given = {key: value for key, value in given.items() if value is not None}
    if found is not None:
        return dataclasses.replace(found, **given)  # pyright: ignore[reportArgumentType]
    if not {"lr", "weight_decay"} <= given.keys():
        raise TrainingError(
            f"the paper gives no settings of {optimizer} for {source.name}, only of "
            f"{', '.join(source.optimizers)}; give the learning rate and the weight decay"
        )
    betas = (0.9, 0.99) if optimizer == "lion" else (0.9, 0.999)
    return OptimizerSettings(**{"betas": betas, **given})  # pyright: ignore[reportArgumentType]
