"""Models as people write them, each with one thing that a trainer may get wrong."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from optforge.tasks import Data, Split, Task

TIME, WIDTH = 5, 4


class Sequences(Task):
    """Three kinds of sequences ``[N, TIME, WIDTH]``, in float64, so that results are comparable."""

    steps, batch_size = 15, 12

    def data(self) -> Data:
        generator = torch.Generator().manual_seed(7)
        centres = torch.randn(3, TIME, WIDTH, generator=generator)
        labels = torch.arange(180) % 3
        points = centres[labels] + torch.randn(180, TIME, WIDTH, generator=generator)
        return Data(*(Split(points[i::3].double(), labels[i::3].roll(i)) for i in range(3)))

    def model(self) -> nn.Module:
        return type(self).kind().double()  # type: ignore[attr-defined]


class Recurrent(nn.Module):
    layer: type[nn.RNNBase] = nn.LSTM
    dropout = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.inner = self.layer(WIDTH, 6, 2, batch_first=True, dropout=self.dropout)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x)[0][:, -1])


class Gated(Recurrent):
    layer = nn.GRU


class Plain(Recurrent):
    layer = nn.RNN


class DroppedRecurrent(Recurrent):
    dropout = 0.2


class Normalized(nn.Sequential):
    """No bias before the norm: its gradient is rounding alone, of which AdamW makes full steps."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(TIME * WIDTH, 8, bias=False),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Linear(8, 3),
        )


class Dropped(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(TIME * WIDTH, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)
        )


class Attentive(nn.Module):
    """The encoder of PyTorch: attention by `scaled_dot_product_attention`, and norms."""

    dropout = 0.0

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, self.dropout, batch_first=True)
        self.first, self.last = nn.Linear(WIDTH, 8), nn.Linear(8, 3)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.encoder(self.first(x)).mean(1))


class DroppedAttentive(Attentive):
    dropout = 0.1


class Convolutional(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(TIME, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Flatten(),
            nn.Linear(12, 3),
        )


class Tied(nn.Module):
    """The same matrix on the way in and, transposed, on the way out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.back = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.back.weight = self.first.weight
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.back(torch.tanh(self.first(x.mean(1)))))


class Frozen(nn.Module):
    """A random backbone that is not trained, another one for each seed."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(TIME * WIDTH, 8), nn.Linear(8, 3)
        self.backbone.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.backbone(x.flatten(1))))


class Unused(nn.Module):
    """A head that the loss never sees: weight decay and global norms must not see it either."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten, self.last = nn.Linear(50, 50), nn.Linear(TIME * WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.flatten(1))


class Buffered(nn.Module):
    """Random features, other ones for each seed; a counter and a running mean kept in place."""

    features: Tensor
    count: Tensor
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("features", torch.randn(TIME * WIDTH, 8))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(8))
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cos(x.flatten(1) @ self.features)
        if self.training:
            self.count += 1
            self.mean.lerp_(x.detach().mean(0), 0.2)
        return self.last((x - self.mean) / (1 + self.count / 100))


class Mixed(nn.Module):
    """Parameters in three types."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(TIME * WIDTH, 8)
        self.middle = nn.Linear(8, 8, dtype=torch.bfloat16)
        self.last = nn.Linear(8, 3, dtype=torch.float64)

    def double(self) -> Mixed:
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x.flatten(1).float()))
        return self.last(self.middle(x.bfloat16()).double())


class Scaled(nn.Module):
    """A temperature without dimensions, as in CLIP, and a parameter without elements."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.empty = nn.Parameter(torch.zeros(0, 3))
        self.last = nn.Linear(TIME * WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale.exp() * self.last(x.flatten(1)) + self.empty.sum()


class Evaluating(Normalized):
    """Handed over in evaluation mode, as what was loaded often is; all trainers train it."""

    def __init__(self) -> None:
        super().__init__()
        self.eval()


class Drawing(Frozen):
    """Weights that NumPy draws, and noise of Python's and NumPy's global generators."""

    def __init__(self) -> None:
        super().__init__()
        drawn = np.random.randn(*self.head.weight.shape)  # noqa: NPY002
        self.head.weight.data.copy_(torch.from_numpy(drawn))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x * (0.5 + random.random()) + np.random.rand()  # noqa: NPY002
        return super().forward(x)


class Hooked(Frozen):
    """A hook zeroes the gradients of half of the weights, which no batch of models sees."""

    def __init__(self) -> None:
        super().__init__()
        self.head.weight.register_hook(lambda gradient: gradient * (torch.arange(8) % 2))


class StillNormalized(Normalized):
    """Its norm stays in evaluation mode, as that of a backbone often does."""

    def train(self, mode: bool = True) -> StillNormalized:
        super().train(mode)
        self[2].eval()
        return self


class Strided(nn.Module):
    """Parameters that lie otherwise in memory than new tensors do."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = nn.Parameter(torch.randn(6, TIME * WIDTH).t())
        self.skipped = nn.Parameter(torch.randn(12)[::2])
        self.filters = nn.Conv2d(1, 3, 2).to(memory_format=torch.channels_last)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(x.flatten(1) @ self.turned + self.skipped)
        return self.last(x) + self.filters(x.unflatten(1, (1, 2, 3))).mean((2, 3))


class Scheduled(Frozen):
    """Counts its steps, of which the first ones do not show it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return super().forward(x if self.steps < 8 else 2 * x)


class Checkpointed(Frozen):
    """A reentrant checkpoint gives gradients to `backward` alone."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.backbone(x.flatten(1))).requires_grad_()
        return checkpoint(self.head, x, use_reentrant=True)  # type: ignore[no-any-return]


class Scripted(nn.Sequential):
    """Compiled by `torch.jit`, so that no call takes other weights."""

    def __new__(cls) -> nn.Module:  # type: ignore[misc]
        return torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(TIME * WIDTH, 3)))


class Regression(Sequences):
    """Several outputs, with a metric of its own."""

    def data(self) -> Data:
        data = super().data()
        return Data(*(Split(s.inputs, s.inputs.mean(1)[:, :3]) for s in vars(data).values()))

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(output, targets) + 0.01

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        return -(output - targets).abs().mean()


KINDS: tuple[type[nn.Module], ...] = (
    Recurrent, Gated, Plain, Normalized, Dropped, Attentive, Convolutional, Tied, Frozen, Unused,
    Buffered, Mixed, Scaled, Evaluating, StillNormalized, Strided,
    Drawing,
)  # fmt: skip


def task_of(kind: type[nn.Module], base: type[Task] = Sequences) -> Task:
    """A task with this model."""
    return type(f"{kind.__name__}Task", (base,), {"kind": kind})()


OWN = (*(task_of(kind) for kind in KINDS), task_of(Normalized, Regression))
# What cannot be batched trains one at a time, with the same losses as in a comparison.
LONE = tuple(task_of(kind) for kind in (Hooked, Checkpointed, Scripted, Scheduled))
# Masks are drawn for tensors that lie otherwise in memory when they are batched.
PERMUTED = (task_of(DroppedRecurrent), task_of(DroppedAttentive))
