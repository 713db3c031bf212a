"""Random numbers of a run, independent of earlier runs in the same process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from optforge.tasks.random_state import python_and_numpy


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch, Python and numpy inside a block, and restore their states afterwards.

    Random numbers of a model or a loss are seeded step by step, so that they are the same for every
    optimizer; this block covers those that optimizers draw themselves.

    Args:
        seed: Seed of the run.
        device: Device on which it is trained.

    Example:
        >>> with seeded(3):
        ...     one = torch.rand(())
        >>> with seeded(3):
        ...     print(torch.rand(()) == one)
        tensor(True)
    """
    place = torch.device(device)
    devices = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), python_and_numpy(seed):
        torch.manual_seed(seed)
        yield
