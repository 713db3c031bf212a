"""Measurements of a run: the memory it needs, the flatness of its minimum, its task's scores."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optforge.tasks import Task
from optforge.training.flatness import WeightNoise, weight_noise_loss

RELATIVE = (0.03, 0.1)  # standard deviations of noise, as shares of an array's root mean square
ABSOLUTE = (0.02,)
_DRAWS, _EXAMPLES = 8, 512
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def optimizer_bytes(optimizer: Optimizer) -> int:
    """Return the bytes of all tensors in an optimizer's state; shared storage counts once.

    Example:
        >>> weight = nn.Parameter(torch.ones(4))
        >>> adam = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        >>> weight.sum().backward()
        >>> adam.step()
        >>> optimizer_bytes(adam)
        16
    """
    storages = {t.untyped_storage().data_ptr(): t for t in _tensors(optimizer.state)}
    return sum(t.untyped_storage().nbytes() for t in storages.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


class PeakMemory:
    """The largest growth of memory from now on, in MB; NaN where the system does not report it.

    On a GPU this is the memory allocated by torch, otherwise the memory of the process; a worker
    has one run at a time. Memory freed by earlier runs is returned to the system first, because it
    would hide the growth.

    Args:
        device: Device on which the run is trained.
        status: The file in which the system reports the memory of this process.
    """

    def __init__(self, device: torch.device, status: Path = _STATUS) -> None:
        self.device, self.status = device, status
        self.before = math.nan
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device) / 2**20
        else:
            with suppress(OSError, AttributeError):
                ctypes.CDLL("libc.so.6").malloc_trim(0)
            with suppress(OSError):
                _CLEAR.write_text("5")  # forgets the peak so far, nothing else
                self.before = self._held("VmRSS")

    def megabytes(self) -> float:
        """Return by how much the peak exceeds the start, in MB."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20 - self.before
        grown = self._held("VmHWM") - self.before
        return grown if math.isnan(grown) else max(0.0, grown)

    def _held(self, name: str) -> float:
        with suppress(OSError):
            for line in self.status.read_text().splitlines():
                if line.startswith(name):
                    return int(line.split()[1]) / 1024
        return math.nan


def flatness(task: Task, model: nn.Module, seed: int) -> dict[str, float]:
    """Return the training loss with and without Gaussian noise on the weights.

    Noise relative to the size of each array makes optimizers comparable that end at weights of
    different size; the paper's table 10 uses absolute noise.

    Returns:
        Means over draws, by name.
    """
    losses = {}
    kinds = [(True, sigma) for sigma in RELATIVE] + [(False, sigma) for sigma in ABSOLUTE]
    for relative, sigma in kinds:
        noise = WeightNoise(sigma, relative, _DRAWS, seed)
        measured = weight_noise_loss(task, model, noise, examples=_EXAMPLES)
        kind = "relative" if relative else "absolute"
        losses["loss_without_noise"] = measured.loss
        losses[f"loss_under_{kind}_noise_{sigma:g}"] = measured.noisy
    return losses


def scores(task: Task, model: nn.Module, seed: int) -> dict[str, float]:
    """Return the scores that the task defines beyond loss and metric."""
    model.eval()
    try:
        with torch.no_grad():
            return task.scores(model, seed)
    finally:
        model.train()


Extra = Callable[[Task, nn.Module, int], dict[str, float]]
EXTRAS: Mapping[str, Extra] = {"flatness": flatness, "scores": scores}
