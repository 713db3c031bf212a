"""What exactly will be trained: a preset, what was changed in it, and the size of the data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from optforge.errors import TrainingError
from optforge.images.choices import Changes, check_precision
from optforge.images.optimizers import check_optimizer
from optforge.images.presets import ImagePreset, OptimizerSettings, preset


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
        data: Digest of the pictures; see ``ImageData``.
        initial: Digest of the checkpoint that is fine-tuned; None: random weights.
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
    data: str
    initial: str | None
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
    data: str = "",
    initial: str | None = None,
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
        data: Digest of the pictures.
        initial: Digest of the checkpoint that is fine-tuned.

    Raises:
        TrainingError: Naming what is wrong or missing.

    Example:
        >>> plan = make_plan("vit_b16", "lion", Changes(), examples=1_281_167, classes=1000)
        >>> plan.steps, plan.warmup_steps, plan.settings.lr
        (93835, 10000, 0.001)
    """
    source = preset(name)
    batch = source.batch_size if changes.batch_size is None else changes.batch_size
    check_precision(precision)
    if pieces < 1 or batch % pieces:
        raise TrainingError(
            f"a batch of {batch} images cannot be cut into {pieces} equal parts (processes times "
            "accumulation); change the batch size or the accumulation"
        )
    steps = _steps(source, changes, examples, batch)
    size = changes.image_size
    return Plan(
        preset=name,
        optimizer=optimizer,
        settings=_settings(source, optimizer, changes),
        steps=steps,
        batch_size=batch,
        pieces=pieces,
        warmup_steps=_warmup_steps(source, changes, steps),
        image_size=source.image_size if size is None else size,
        classes=classes,
        examples=examples,
        data=data,
        initial=initial,
        momentum_dtype=changes.momentum_dtype,
        label_smoothing=changes.label_smoothing,
        ema=changes.ema,
        reduced=changes.reduced,
        precision=precision,
        seed=changes.seed,
    )


def _steps(source: ImagePreset, changes: Changes, examples: int, batch: int) -> int:
    if changes.steps is not None:
        return changes.steps
    epochs = source.epochs if changes.epochs is None else changes.epochs
    if epochs is None:
        raise TrainingError(
            f"the paper gives no budget for {source.name} ({source.data}); give epochs or steps"
        )
    return max(1, round(epochs * examples / batch))


def _warmup_steps(source: ImagePreset, changes: Changes, steps: int) -> int:
    given = changes.warmup_steps
    if given is None:
        return min(source.warmup_steps, max(1, steps // 5))
    if given > steps:
        raise TrainingError(
            f"warmup_steps is {given} in a run of {steps} steps; allowed are at most as many"
        )
    return given


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
