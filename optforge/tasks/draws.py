"""The random draws of a run, given its seed: order of examples, initial weights, augmentation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optforge.tasks.task import Task, content_seed, fresh_model


def batch_order(task: Task, seed: int) -> Tensor:
    """Return the training examples of each step: shuffled epochs, one after another.

    Args:
        task: The task.
        seed: The seed; with the same task name and seed the order is the same on any worker.

    Returns:
        Indices into the training split, int64 [steps, batch_size]; a batch may begin in one
        epoch and end in the next.

    Example:
        >>> from optforge.tasks import load_task
        >>> tuple(batch_order(load_task("digits_mlp"), seed=0).shape)
        (200, 64)
    """
    generator = torch.Generator().manual_seed(content_seed(task, seed, "batches"))
    examples, needed = len(task.splits.train), task.steps * task.batch_size
    order = torch.empty(needed, dtype=torch.int64)
    for start in range(0, needed, examples):
        epoch = torch.randperm(examples, generator=generator)
        order[start : start + examples] = epoch[: needed - start]
    return order.reshape(task.steps, task.batch_size)


def initial_model(task: Task, seed: int) -> nn.Module:
    """Return a fresh model whose weights depend only on the task's name and the seed.

    Args:
        task: The task.
        seed: The seed; the global generators of torch, NumPy and Python are left unchanged.

    Returns:
        The model, in training mode.

    Example:
        >>> from optforge.tasks import load_task
        >>> sum(p.numel() for p in initial_model(load_task("digits_mlp"), seed=0).parameters())
        4810
    """
    model = task.prepare(fresh_model(task, seed), seed)
    return model.train() if isinstance(model, nn.Module) else model  # the check tells what it is


def augmented(
    task: Task, inputs: Tensor, targets: Tensor, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """Return a training batch changed by ``augment``, the same for every optimizer.

    Args:
        task: The task.
        inputs: Inputs of the training split, [B, ...].
        targets: Targets of these examples.
        seed: The seed of the run.
        step: The step, from 0.

    Returns:
        Inputs and targets to train on.

    Example:
        >>> from optforge.tasks import load_task
        >>> task = load_task("digits_mlp")  # has no augmentation
        >>> x, y = task.splits.train.inputs[:4], task.splits.train.targets[:4]
        >>> augmented(task, x, y, seed=0, step=0)[0] is x
        True
    """
    if type(task).augment is Task.augment:
        return inputs, targets
    generator = torch.Generator().manual_seed(content_seed(task, seed, f"augmentation {step}"))
    return task.augment(inputs, targets, generator)
