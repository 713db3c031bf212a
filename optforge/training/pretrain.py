"""Pre-training: train a model on one task and save its weights for another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from optforge.errors import TaskError
from optforge.files import replacing
from optforge.tasks import Task
from optforge.training.single import Result, train_single


def pretrain(
    task: Task,
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    seed: int,
    file: str | Path,
) -> Result:
    """Train one model as ``train_single`` does and save its weights to a file.

    An existing file is replaced; the new one appears under its name only when complete.

    Args:
        task: The task to pre-train on.
        make_optimizer: Builds the optimizer, for example ``lambda p: Lion(p, lr=3e-4,
            weight_decay=1.0)``.
        seed: Seed of initialization and data order.
        file: Path of the weights; ``{seed}`` in it is replaced. A fine-tuning task takes the same
            text as its attribute ``checkpoint``.

    Returns:
        Loss and metric on the validation split.

    Raises:
        TaskError: If the file cannot be written.

    Example:
        >>> import os, tempfile
        >>> from optforge.tasks import load_task
        >>> folder = tempfile.mkdtemp()
        >>> make = lambda parameters: torch.optim.AdamW(parameters, lr=3e-3)
        >>> result = pretrain(load_task("digits_mlp"), make, 0, f"{folder}/digits-{{seed}}.pt")
        >>> sorted(os.listdir(folder))
        ['digits-0.pt']
    """
    models: list[nn.Module] = []
    result = train_single(task, make_optimizer, seed, keep=models.append)
    save_weights(models[0], task, seed, file)
    return result


def save_weights(model: nn.Module, task: Task, seed: int, file: str | Path) -> None:
    """Save the weights of a model that a fine-tuning task may start from.

    Args:
        model: The trained model.
        task: The task that it was trained on.
        seed: Seed of its training.
        file: As for :func:`pretrain`.

    Raises:
        TaskError: If the file cannot be written.
    """
    path = Path(str(file).replace("{seed}", str(seed)))
    content = {"model": model.state_dict(), "task": task.name, "seed": seed}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            torch.save(content, stream)
    except OSError as error:
        raise TaskError(f"the weights cannot be written to {path}: {error.strerror}") from None
