"""Models of the families that are set aside."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.models import linear, normal

_MARGIN = 0.05


class SineField(nn.Module):
    """A picture as a function of the place: random Fourier features, then layers with sines.

    Args:
        features: Random frequencies, fixed.
        hidden: Widths of the layers.
        scale: Deviation of the frequencies, in half turns over the picture's edge.

    Example:
        >>> tuple(SineField(8, (16,))(torch.zeros(5, 2)).shape)
        (5, 3)

    Source: Tancik et al., Fourier Features Let Networks Learn High Frequency Functions, 2020
    (arXiv:2006.10739).
    """

    frequencies: Tensor

    def __init__(self, features: int, hidden: tuple[int, ...], scale: float = 4.0) -> None:
        super().__init__()
        drawn = torch.randn(2, features, generator=torch.Generator().manual_seed(0))
        self.register_buffer("frequencies", drawn * scale * math.pi, persistent=False)
        sizes = (2 * features, *hidden)
        self.layers = nn.ModuleList(linear(a, b, math.sqrt(2), True) for a, b in pairwise(sizes))
        self.head = linear(sizes[-1], 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map places [B, 2] to colors [B, 3]."""
        angles = x @ self.frequencies
        x = torch.cat([angles.sin(), angles.cos()], -1)
        for layer in self.layers:
            x = torch.sin(layer(x))
        return self.head(x)


class CouplingFlow(nn.Module):
    """A normalizing flow of affine couplings; it returns log densities.

    Args:
        size: Values of an example, even.
        couplings: Layers; each changes one half of the values by the other.
        hidden: Width of the network of each.
        levels: Values lie between 0 and this.
        margin: Keeps the logarithms of the ends of that range finite.

    Example:
        >>> tuple(CouplingFlow(64, 2, 16, 17)(torch.zeros(5, 8, 8)).shape)
        (5,)

    Source: Dinh et al., Density Estimation using Real NVP, 2017 (arXiv:1605.08803).
    """

    def __init__(
        self, size: int, couplings: int, hidden: int, levels: int, margin: float = _MARGIN
    ) -> None:
        super().__init__()
        self.size, self.levels, self.margin = size, levels, margin
        self.first = nn.ModuleList(
            linear(size // 2, hidden, math.sqrt(2), True) for _ in range(couplings)
        )
        self.second = nn.ModuleList(linear(hidden, size, 0.1, True) for _ in range(couplings))

    def forward(self, x: Tensor) -> Tensor:
        """Map examples [B, ...] to their log densities [B], in nats."""
        inside = 1 - 2 * self.margin
        share = self.margin + inside * x.flatten(1) / self.levels
        values = torch.logit(share)
        volume = (math.log(inside / self.levels) - torch.log(share * (1 - share))).sum(1)
        kept, changed = values[:, ::2], values[:, 1::2]
        for first, second in zip(self.first, self.second, strict=True):
            shift, scale = second(functional.relu(first(kept))).chunk(2, -1)
            scale = 2 * torch.tanh(scale / 2)
            kept, changed = changed * scale.exp() + shift, kept
            volume = volume + scale.sum(-1)
        normal = -0.5 * (kept**2 + changed**2).sum(-1) - self.size / 2 * math.log(2 * math.pi)
        return normal + volume


class GraphScorer(nn.Module):
    """Two graph convolutions, then a bilinear score of two nodes.

    Args:
        adjacency: Normalized, float32 [nodes, nodes].
        width: Features of a node.

    Example:
        >>> tuple(GraphScorer(torch.eye(9), 4)(torch.tensor([[8, 1], [0, 0]])).shape)
        (2,)

    Source: Kipf and Welling, Semi-Supervised Classification with Graph Convolutional Networks,
    2017 (arXiv:1609.02907).
    """

    adjacency: Tensor

    def __init__(self, adjacency: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.embedding = normal(len(adjacency), width, scale=1.0)
        self.layers = nn.ModuleList(linear(width, width, math.sqrt(2), True) for _ in range(2))
        self.relation = linear(width, width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map pairs of nodes [B, 2], int64, to logits [B] of an edge from the first."""
        nodes = functional.relu(self.adjacency @ self.layers[0](self.embedding))
        nodes = self.adjacency @ self.layers[1](nodes)
        first, second = (functional.embedding(column, nodes) for column in x.unbind(-1))
        return (self.relation(first) * second).sum(-1) * nodes.shape[-1] ** -0.5
