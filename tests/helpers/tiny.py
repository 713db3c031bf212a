"""Tasks that train in milliseconds, each odd in one way."""

from __future__ import annotations

import math
import os
import signal
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks import Data, Split, Task
from optforge.tasks.registry import MnistMLP, MnistViT, PythonTransformer


def blobs(dtype: torch.dtype = torch.float32, noise: float = 0.7, random: bool = False) -> Data:
    """Points around three centres in four dimensions; with `random`, labels that mean nothing."""
    generator = torch.Generator().manual_seed(7)
    centres = torch.randn(3, 4, generator=generator)

    def split(count: int) -> Split:
        labels = torch.arange(count) % 3
        points = centres[labels] + noise * torch.randn(count, 4, generator=generator)
        if random:
            labels = torch.randint(0, 3, (count,), generator=generator)
        return Split(points.to(dtype), labels)

    return Data(split(240), split(90), split(90))


class Blobs(Task):
    """The plain one."""

    steps, batch_size = 20, 16

    def data(self) -> Data:
        return blobs()

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


class Sums(Task):
    """A regression, as a second task of another kind."""

    steps, batch_size = 16, 16

    def data(self) -> Data:
        points = torch.linspace(-1, 1, 300)[:, None] * torch.tensor([1.0, -0.5, 0.25])
        targets = points.sum(1, keepdim=True) + 0.5
        return Data(*(Split(points[i::3], targets[i::3]) for i in range(3)))

    def model(self) -> nn.Module:
        return nn.Linear(3, 1)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return ((output - targets) ** 2).mean() + 0.01

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        return (output - targets).abs().mean()


class DoubleBlobs(Blobs):
    """In float64 throughout, also where no trainer converts."""

    steps = 30

    def data(self) -> Data:
        return blobs(torch.float64)

    def model(self) -> nn.Module:
        return super().model().double()


class Noise(Blobs):
    """Nothing to learn: labels are drawn at random."""

    def data(self) -> Data:
        return blobs(random=True)


class WithDropout(Blobs):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))


class _FunctionalDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.dropout(torch.tanh(self.first(x)), 0.5, self.training)
        return self.last(x)


class WithFunctionalDropout(Blobs):
    """Dropout that no look at the modules finds."""

    def model(self) -> nn.Module:
        return _FunctionalDropout()


class WithBatchNorm(Blobs):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


class _Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if x.mean() > 0:  # what vmap cannot do
            x = torch.tanh(x)
        return self.last(x)


class WithBranch(Blobs):
    def model(self) -> nn.Module:
        return _Branching()


class _Rebinding(nn.Module):
    """Assigns a new tensor to a buffer in each step, which batched calls cannot see."""

    memory: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)
        self.register_buffer("memory", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        if self.training:
            self.memory = 0.9 * self.memory + 0.1 * x.detach().mean(0)
        return self.last(x - self.memory)


class WithRebinding(Blobs):
    def model(self) -> nn.Module:
        return _Rebinding()


class ShortMLP(MnistMLP):
    name = "short_mlp"
    steps = 20


class ShortViT(MnistViT):
    name = "short_vit"
    steps, width, heads = 20, 8, 2


class ShortTransformer(PythonTransformer):
    name = "short_transformer"
    steps, width, heads = 20, 8, 2


class WithNoisyLoss(Blobs):
    """Noise drawn in the loss, as in denoising."""

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return super().loss(output + 0.5 * torch.randn_like(output), targets)


class Deadly(Blobs):
    """Ends its process when outputs become huge, or hangs when they become larger still."""

    steps, deadly, hanging = 10, 100.0, math.inf

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        largest = output.detach().abs().max()
        if largest > self.hanging:
            time.sleep(1000)
        if largest > self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(output, targets)


class Hanging(Deadly):
    name = "Deadly"  # and with it the same seeds
    deadly, hanging = math.inf, 100.0


RANDOM = (WithDropout, WithFunctionalDropout, WithNoisyLoss)
UNBATCHED = (WithBranch, WithRebinding)
