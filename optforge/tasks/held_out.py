"""The held-out task of a search: other data and another model than the proxies and the ladder."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.data.character_names import ALPHABET, character_names
from optforge.tasks.models import linear, normal
from optforge.tasks.splits import Data
from optforge.tasks.task import Task


class SequenceConvNet(nn.Module):
    """Strided convolutions over a sequence of tokens, then the largest value of each feature.

    Args:
        vocabulary: Number of different tokens.
        channels: Features of a token, then those after each convolution, which halves the length.
        classes: Number of classes.
        kernel: Tokens that a convolution sees, odd.

    Example:
        >>> import torch
        >>> tuple(SequenceConvNet(39, (8, 16), 12)(torch.zeros(5, 32, dtype=torch.int64)).shape)
        (5, 12)

    Source: Kim, Convolutional Neural Networks for Sentence Classification, 2014
    (arXiv:1408.5882).
    """

    def __init__(
        self, vocabulary: int, channels: tuple[int, ...], classes: int, kernel: int = 3
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.embedding = normal(vocabulary, channels[0], scale=1.0)
        self.convolutions = nn.ModuleList(
            linear(kernel * few, many, gain=math.sqrt(2), bias=True)
            for few, many in pairwise(channels)
        )
        self.head = linear(channels[-1], classes, gain=0.5, bias=True)  # of the largest values

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, T], int64, to logits [B, classes]."""
        x = functional.embedding(x, self.embedding)  # [B, T, features]
        for convolution in self.convolutions:
            edge = self.kernel // 2
            patches = functional.pad(x, (0, 0, edge, edge)).unfold(1, self.kernel, 2)
            batch, length = patches.shape[:2]
            x = functional.relu(convolution(patches.reshape(batch * length, -1)))
            x = x.reshape(batch, length, -1)
        return self.head(x.amax(1))


class NamesCNN(Task):
    """Names of characters by general category, a convolutional network over letters: held out."""

    name = "names_cnn"
    version = 2
    steps = 120
    batch_size = 32
    sizes = (7200, 1600, 1600)
    length = 32
    classes = 12
    channels = (12, 24, 32)

    def data(self) -> Data:
        """Return inputs [N, length], targets [N]."""
        return character_names(self.sizes, self.length, self.classes)

    def model(self) -> nn.Module:
        """Return two strided convolutions, a maximum over the name and a linear map."""
        return SequenceConvNet(len(ALPHABET) + 1, self.channels, self.classes)
