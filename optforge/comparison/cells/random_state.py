"""Random numbers of a run: its own, whatever ran before it in the process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch, Python and numpy inside a block, and leave their states as they were.

    What a model or a loss draws is seeded step by step, so that it is the same for every
    optimizer; this is for what optimizers draw themselves.

    Args:
        seed: Of the run.
        device: Where it is trained.

    Example:
        >>> with seeded(3):
        ...     one = torch.rand(())
        >>> with seeded(3):
        ...     print(torch.rand(()) == one)
        tensor(True)
    """
    place = torch.device(device)
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)  # noqa: NPY002
