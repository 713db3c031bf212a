"""Weights of tasks that start from a pre-trained model: a checkpoint, or trained here by AdamW."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays, cached
from optforge.tasks.draws import augmented, batch_order, initial_model
from optforge.tasks.schedule import schedule
from optforge.tasks.task import Task

SCRATCH = "scratch"  # a checkpoint that stands for random weights
_CLIP = 1.0  # largest norm of a gradient


def checkpoint_content(checkpoint: str) -> str | list[str]:
    """Return what a task's ``checkpoint`` adds to its hash: digests of files, or ``scratch``."""
    if checkpoint in ("", SCRATCH):
        return checkpoint
    files = sorted(_files(checkpoint.replace("{seed}", "*")))
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]


def read_weights(checkpoint: str, seed: int, name: str) -> Mapping[str, Tensor]:
    """Read the weights that a run starts from.

    Args:
        checkpoint: A file of ``pretrain``; ``{seed}`` in it stands for the seed.
        seed: Seed of the run.
        name: Name of the task, for errors.

    Raises:
        TaskError: If there is none, or it cannot be read.
    """
    if not checkpoint:
        raise TaskError(
            f"task {name!r} starts from a pre-trained model and has none; set its "
            f"attribute checkpoint to a file that optforge.training.pretrain wrote, or to "
            f"{SCRATCH!r} for random weights"
        )
    file = checkpoint.replace("{seed}", str(seed))
    try:
        return torch.load(file, weights_only=True, map_location="cpu")["model"]
    except Exception as error:  # a damaged file fails in many ways
        raise TaskError(
            f"the checkpoint {file} of task {name!r} cannot be read "
            f"({type(error).__name__}: {error}); make it with optforge.training.pretrain"
        ) from error


def pretrained(task: Task, lr: float = 3e-3, weight_decay: float = 0.1) -> dict[str, Tensor]:
    """Return the weights of a task's model after all of its steps with AdamW.

    Args:
        task: The task to pre-train on.
        lr: Peak learning rate.
        weight_decay: Weight decay.

    Returns:
        The state of the model, the same at every call.

    Example:
        >>> from optforge.tasks import load_task
        >>> task = load_task("digits_mlp")
        >>> task.steps = 2
        >>> len(pretrained(task))
        4
    """
    key = {"version": 1, "task": task.hash, "lr": lr, "weight_decay": weight_decay}
    key |= {"torch": torch.__version__}
    weights = cached("pretrained", key, lambda: _train(task, lr, weight_decay))
    return {name: torch.from_numpy(value) for name, value in weights.items()}


def _files(pattern: str) -> list[str]:
    """Return the files that match a pattern in which only ``*`` is special, not ``[``."""
    return glob.glob(re.sub(r"[\[?]", r"[\g<0>]", pattern))


def _train(task: Task, lr: float, weight_decay: float) -> Arrays:
    model, train, order = initial_model(task, 0), task.splits.train, batch_order(task, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    for step, rows in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = lr * schedule(step, task.steps, task.warmup)
        inputs, targets = augmented(task, train.inputs[rows], train.targets[rows], 0, step)
        optimizer.zero_grad()
        task.loss(model(inputs), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}
