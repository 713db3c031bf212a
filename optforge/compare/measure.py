"""What a run costs in memory, and how flat the minimum is that it found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optforge.tasks import Task

NOISE = (0.01, 0.03, 0.1)  # standard deviations, as shares of each array's root mean square
DRAWS = 8
_EXAMPLES = 1000  # of the training data, for the loss under noise
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def optimizer_bytes(optimizer: Optimizer) -> int:
    """Bytes of all tensors that an optimizer keeps for its parameters; shared ones count once.

    Example:
        >>> weight = nn.Parameter(torch.ones(4))
        >>> adam = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        >>> weight.sum().backward()
        >>> adam.step()
        >>> optimizer_bytes(adam)
        16
    """
    found = {t.untyped_storage().data_ptr(): t for t in _tensors(optimizer.state)}
    return sum(t.untyped_storage().nbytes() for t in found.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


class PeakMemory:
    """The largest growth of memory from now on, in MB; NaN where the system does not tell.

    On a GPU what torch allocated, else what the process holds; a worker has one run at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before = math.nan
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device) / 2**20
        else:
            with suppress(OSError):
                _CLEAR.write_text("5")  # forgets the peak so far, nothing else
                self.before = _status("VmRSS")

    def megabytes(self) -> float:
        """How far the peak lies above the beginning."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20 - self.before
        return max(0.0, _status("VmHWM") - self.before)


def _status(name: str) -> float:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return math.nan


def flatness(task: Task, model: nn.Module, seed: int) -> dict[str, float]:
    r"""Training loss under Gaussian noise on the weights.

    For each :math:`\sigma` the mean over draws of
    :math:`L(w + \sigma\, \mathrm{rms}(w)\, \epsilon)` with :math:`\epsilon \sim N(0, 1)`, the
    root mean square taken for each array. Noise relative to the
    weights makes optimizers comparable that end at weights of different size.

    Returns:
        The loss without noise, and with each of :data:`NOISE`.

    Source: Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, table 10.
    """
    part = task.splits.train
    device = next(model.parameters()).device
    inputs = part.inputs[:_EXAMPLES].to(device)
    targets = part.targets[:_EXAMPLES].to(device)
    weights = [p.detach().clone() for p in model.parameters()]
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    found = {"loss_without_noise": task.loss(model(inputs), targets).item()}
    for sigma in NOISE:
        losses = []
        for _ in range(DRAWS):
            _disturb(model, weights, sigma, generator)
            losses.append(task.loss(model(inputs), targets).item())
        found[f"loss_under_noise_{sigma:g}"] = sum(losses) / len(losses)
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        parameter.copy_(weight)
    model.train()
    return found


def _disturb(
    model: nn.Module, weights: list[Tensor], sigma: float, generator: torch.Generator
) -> None:
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        parameter.copy_(weight + sigma * weight.square().mean().sqrt() * noise)


Extra = Callable[[Task, nn.Module, int], dict[str, float]]
EXTRAS: Mapping[str, Extra] = {"flatness": flatness}
