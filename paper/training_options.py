"""Options of every training, and what follows from them: its steps and the rate of each."""

from __future__ import annotations

from dataclasses import dataclass

from optforge.tasks import schedule
from paper import options
from paper.optimizers import MOMENTA, OPTIMIZERS
from paper.options import TrainingError, option, session

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
DECAYS = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class TrainingOptions:
    """Options of every training: a preset replaces these defaults, the command line both."""

    preset: str | None = option(None, "name of the preset")
    data: str = session("", "place of the data")
    out: str = session("", "folder for checkpoint and log")
    resume: bool = session(False, "continue from the checkpoint in --out, if there is one")
    reduced: bool = option(False, "a tiny model of the same kind")
    # The optimizer
    optimizer: str = option("lion", f"{', '.join(OPTIMIZERS)}, or a rule by its name or file")
    lr: float | None = option(None, "peak learning rate", "positive")
    weight_decay: float | None = option(None, "decoupled; of sgd L2", "not negative")
    betas: tuple[float, float] | None = option(None, "both betas", "share")
    momentum_dtype: str = option("bfloat16", "dtype of Lion's and Adafactor's", "|".join(MOMENTA))
    clip_norm: float = option(1.0, "largest global norm of the gradients, or inf", "limit")
    # The budget
    epochs: float | None = option(None, "passes over the data", "positive")
    steps: int | None = option(None, "optimizer steps, in place of epochs", "count")
    batch_size: int = option(4096, "examples of a step, all processes together", "count")
    warmup_steps: int | None = option(None, "10,000, or a fifth of a shorter run", "whole")
    decay: str = option("cosine", "of the rate after the warm-up", "|".join(DECAYS))
    ema: float | None = option(None, "decay of a mean of the weights, which is evaluated", "share")
    seed: int = option(0, "of weights, order and all that is random", "whole")
    # The machine; the number of micro-batches, accumulation x processes, must stay
    accumulation: int = session(1, "micro-batches one after another", "count")
    precision: str = option("float32", "float32, or mixed precision", "|".join(PRECISIONS))
    compile: bool = session(False, "compile the model")
    workers: int = session(4, "processes that read data, for each device", "whole")
    cpu: bool = session(False, "train on the CPU even if there is a GPU")
    evaluate_every: int | None = session(None, "steps; by default a tenth of the run", "count")
    checkpoint_every: int | None = session(None, "steps; by default as evaluations", "count")
    checkpoint_minutes: float = session(30.0, "minutes between checkpoints at most", "limit")
    stop_after: int | None = session(None, "end with a checkpoint after so many steps", "count")

    def __post_init__(self) -> None:
        options.check_options(self)
        if self.steps is not None and self.epochs is not None:
            raise TrainingError("both steps and epochs are given; give one")


def budget(config: TrainingOptions, examples: int) -> tuple[int, int]:
    """Return the steps of the whole run and of its warm-up, for a number of training examples.

    Raises:
        TrainingError: If there is no budget, or the warm-up is longer.
    """
    steps = config.steps
    if steps is None:
        if config.epochs is None:
            raise TrainingError(f"no budget for {config.preset} in the paper; give epochs or steps")
        steps = max(1, round(config.epochs * examples / config.batch_size))
    warmup = config.warmup_steps
    if warmup is not None and warmup > steps:
        raise TrainingError(f"warmup_steps is {warmup} in a run of {steps} steps; at most as many")
    return steps, min(10_000, max(1, steps // 5)) if warmup is None else warmup


def rate_share(decay: str, step: int, steps: int, warmup: int) -> float:
    """Return the learning rate of a step as a share of its peak.

    Example:
        >>> [round(rate_share("linear", step, 5, 2), 2) for step in range(5)]
        [0.5, 1.0, 0.67, 0.33, 0.0]
    """
    if decay == "cosine" or step < warmup:
        return schedule(step, steps, warmup / steps)
    return 1.0 if decay == "constant" else (steps - 1 - step) / max(1, steps - warmup)
