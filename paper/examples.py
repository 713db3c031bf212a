"""Examples of a training: which ones a step sees, and the chance that belongs to each.

Both depend on seed, step and place alone, never on the process that reads or computes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Item = tuple[int, int]  # epoch and index of an example


def content_seed(*parts: object) -> int:
    """Return a seed that depends on the values alone, the same on every machine.

    Example:
        >>> content_seed(0, "order", 3) == content_seed(0, "order", 3)
        True
    """
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator that transforms draw from, and restore their states afterwards."""
    states = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_rng_state(states[2])


@dataclass
class MicroBatches:
    """The micro-batches of one process, as a batch sampler of a ``DataLoader``.

    Step s, micro-batch k holds the places s * batch + k * size to s * batch + (k + 1) * size of one
    endless stream of shuffled epochs; process r computes the micro-batches r, r + world, ... So
    neither the number of processes nor resuming changes what a step sees, as long as the number of
    micro-batches stays.

    Args:
        examples: Number of training pictures.
        size: Pictures of a micro-batch.
        count: Micro-batches of a step, all processes together.
        steps: First step and the one after the last.
        process: Index of this process and number of processes.
        seed: Seed of the order.

    Example:
        >>> alone = list(MicroBatches(4, 2, 2, (0, 2), (0, 1), seed=0))
        >>> two = [list(MicroBatches(4, 2, 2, (0, 2), (rank, 2), seed=0)) for rank in (0, 1)]
        >>> alone == [two[0][0], two[1][0], two[0][1], two[1][1]]
        True
    """

    examples: int
    size: int
    count: int
    steps: tuple[int, int]
    process: tuple[int, int]
    seed: int

    def __len__(self) -> int:
        return (self.steps[1] - self.steps[0]) * (self.count // self.process[1])

    def __iter__(self) -> Iterator[list[Item]]:
        order = -1, torch.empty(0)
        for number in range(self.steps[0] * self.count, self.steps[1] * self.count):
            if number % self.count % self.process[1] != self.process[0]:
                continue
            items = []
            for place in range(number * self.size, (number + 1) * self.size):
                epoch, at = divmod(place, self.examples)
                if epoch != order[0]:
                    order = epoch, self._order(epoch)
                items.append((epoch, int(order[1][at])))
            yield items

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(content_seed(self.seed, "order", epoch))
        return torch.randperm(self.examples, generator=generator)


@dataclass
class Examples(Dataset[tuple[Tensor, int]]):
    """Pictures as tensors, augmented by chance that depends on (seed, epoch, index) alone."""

    pictures: Sequence[tuple[Any, int]]
    transform: Callable[[Any], Tensor]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, item: Item) -> tuple[Tensor, int]:
        picture, label = self.pictures[item[1]]
        with seeded(content_seed(self.seed, "augmentation", *item)):
            return self.transform(picture.convert("RGB")).as_subclass(Tensor), label


def loader(examples: Any, batches: Any, workers: int) -> Any:
    """Return a ``DataLoader`` over the micro-batches of a process."""
    return DataLoader(
        examples,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
