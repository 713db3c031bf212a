"""Random numbers that a model draws in training, as dropout does, reproducible by seed and step."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from optforge.tasks import Task, initial_model
from optforge.tasks.random_state import python_and_numpy, state_of_python_and_numpy


def draws_random_numbers(task: Task) -> bool:
    """Return whether a task draws random numbers in training, as dropout does, by a trial."""
    model, train = initial_model(task, 0), task.splits.train
    before = torch.get_rng_state()
    try:
        with torch.no_grad(), python_and_numpy(0):
            others = state_of_python_and_numpy()
            output = model(train.inputs[: task.batch_size])
            task.loss(output, train.targets[: task.batch_size])
            same = others == state_of_python_and_numpy()
        return not (same and torch.equal(before, torch.get_rng_state()))
    finally:
        torch.set_rng_state(before)


class random_numbers:  # noqa: N801 - reads as a statement
    """Seed the numbers of torch, NumPy and Python by (seed, step) in a block, if any are drawn."""

    def __init__(self, seed: int, step: int, needed: bool) -> None:
        self.needed, self.seed = needed, seed * 1_000_003 + step
        self.saved: Tensor | None = None

    def __enter__(self) -> None:
        if self.needed:
            self.saved = torch.get_rng_state()
            self.others: AbstractContextManager[None] = python_and_numpy(self.seed)
            self.others.__enter__()
            torch.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        if self.saved is not None:
            torch.set_rng_state(self.saved)
            self.others.__exit__(None, None, None)
