"""Weights that a task starts from where it is not given any: trained once by AdamW, then cached."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from optforge.tasks.data.cache import Arrays, cached
from optforge.tasks.draws import augmented, batch_order, initial_model
from optforge.tasks.schedule import schedule
from optforge.tasks.task import Task

_CLIP = 1.0  # largest norm of a gradient


def pretrained(task: Task, lr: float = 3e-3, weight_decay: float = 0.1) -> dict[str, Tensor]:
    """Return the weights of a task's model after all of its steps with AdamW.

    Args:
        task: The task to pre-train on.
        lr: Peak learning rate.
        weight_decay: Weight decay.

    Returns:
        The state of the model, the same for all who ask.

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
