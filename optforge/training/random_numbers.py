"""Random numbers that a model draws in training, as dropout does, reproducible by seed and step."""

from __future__ import annotations

from typing import Any

import torch

from optforge.tasks import Task, initial_model


def draws_random_numbers(task: Task) -> bool:
    """Return whether a task draws random numbers in training, as dropout does, by a trial."""
    model, train = initial_model(task, 0), task.splits.train
    before = torch.get_rng_state()
    try:
        with torch.no_grad():
            output = model(train.inputs[: task.batch_size])
            task.loss(output, train.targets[: task.batch_size])
        return not torch.equal(before, torch.get_rng_state())
    finally:
        torch.set_rng_state(before)


class random_numbers:  # noqa: N801 - reads as a statement
    """Seed torch's random numbers by (seed, step) inside a block, if the model draws any."""

    def __init__(self, seed: int, step: int, needed: bool) -> None:
        self.needed, self.seed = needed, seed * 1_000_003 + step
        self.saved: Any = None

    def __enter__(self) -> None:
        if self.needed:
            self.saved = torch.get_rng_state()
            torch.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        if self.needed:
            torch.set_rng_state(self.saved)
