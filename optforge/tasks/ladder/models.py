"""Models of the ladder. As those of the proxies: few kernels, and nothing ``vmap`` cannot batch."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.models import Convolution, linear, normal


class Autoencoder(nn.Module):
    """A deep autoencoder: fully connected layers down to a short code and up again.

    Args:
        sizes: Widths from the input to the code; the decoder has them in reverse.

    Example:
        >>> tuple(Autoencoder((64, 32, 8))(torch.zeros(5, 8, 8)).shape)
        (5, 64)

    Source: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks,
    2006.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        widths = (*sizes, *sizes[-2::-1])
        self.code = len(sizes) - 1  # layers of the encoder
        self.layers = nn.ModuleList(linear(a, b, bias=True) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, ...] to its reconstruction [B, values]; code and output are linear."""
        x = x.flatten(1)
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if number not in (self.code, len(self.layers)):
                x = torch.tanh(x)
        return x


class ResidualNet(nn.Module):
    """Convolutions with residual connections, each followed by a group norm without weights.

    Args:
        channels: Features of each stage; each halves the image's edge.
        classes: Number of classes.

    Example:
        >>> tuple(ResidualNet((8, 16), 26)(torch.zeros(5, 16, 16)).shape)
        (5, 26)

    Source: He et al., Deep Residual Learning for Image Recognition, 2016 (arXiv:1512.03385).
    """

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.stem = Convolution(1, channels[0])
        self.down = nn.ModuleList(Convolution(a, b) for a, b in pairwise(channels))
        self.blocks = nn.ModuleList(
            nn.ModuleList(Convolution(width, width, stride=1) for _ in range(2))
            for width in channels
        )
        self.head = linear(channels[-1], classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, side, side] to logits [B, classes]."""
        x = functional.relu(_norm(self.stem(x[..., None])))
        for stage, block in enumerate(self.blocks):
            x = functional.relu(_norm(self.down[stage - 1](x))) if stage else x
            first, second = block  # pyright: ignore[reportGeneralTypeIssues]
            x = functional.relu(x + _norm(second(functional.relu(_norm(first(x))))))
        return self.head(x.mean((1, 2)))


class CharacterGRU(nn.Module):
    """A language model by gated recurrent units.

    Args:
        vocabulary: Number of different tokens.
        width: Features of a token and of the state.

    Example:
        >>> tuple(CharacterGRU(64, 16)(torch.zeros(5, 12, dtype=torch.int64)).shape)
        (5, 12, 64)

    Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014
    (arXiv:1406.1078), with the reset gate after the product, as in torch.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = normal(vocabulary, width, scale=width**-0.5)
        self.inputs = linear(width, 3 * width, bias=True)
        self.recurrent = linear(width, 3 * width, bias=True)
        self.head = linear(width, vocabulary, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, T], int64, to logits [B, T, vocabulary]."""
        batch, length = x.shape
        embedded = functional.embedding(x, self.embedding).reshape(-1, self.width)
        of_steps = self.inputs(embedded).reshape(batch, length, -1)
        state = torch.zeros_like(of_steps[:, 0, : self.width])
        states = []
        for step in range(length):
            state = self._next(of_steps[:, step], state)
            states.append(state)
        x = self.head(torch.stack(states, 1).reshape(-1, self.width))
        return x.reshape(batch, length, -1)

    def _next(self, inputs: Tensor, state: Tensor) -> Tensor:
        reset, update, new = inputs.chunk(3, -1)
        old_reset, old_update, old_new = self.recurrent(state).chunk(3, -1)
        keep = torch.sigmoid(update + old_update)
        proposed = torch.tanh(new + torch.sigmoid(reset + old_reset) * old_new)
        return keep * state + (1 - keep) * proposed


class SmallUNet(nn.Module):
    """A U-Net: convolutions down and up again, with the features of each size handed across.

    Args:
        channels: Features at each size; each but the first halves the image's edge.

    Example:
        >>> tuple(SmallUNet((4, 8))(torch.zeros(5, 2, 16, 16)).shape)
        (5, 16, 16)

    Source: Ronneberger et al., U-Net, 2015 (arXiv:1505.04597).
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = Convolution(2, channels[0], stride=1)
        self.down = nn.ModuleList(Convolution(a, b) for a, b in pairwise(channels))
        self.middle = Convolution(channels[-1], channels[-1], stride=1)
        self.up = nn.ModuleList(
            Convolution(a + b, a, stride=1) for a, b in reversed(list(pairwise(channels)))
        )
        self.head = linear(channels[0], 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map images and level of noise [B, 2, side, side] to the noise [B, side, side]."""
        x = functional.relu(self.stem(x.movedim(1, -1)))
        kept = []
        for layer in self.down:
            kept.append(x)
            x = functional.relu(_norm(layer(x)))
        x = functional.relu(self.middle(x))
        for layer in self.up:
            x = torch.cat([_twice_as_large(x), kept.pop()], -1)
            x = functional.relu(_norm(layer(x)))
        return self.head(x.reshape(-1, x.shape[-1])).reshape(x.shape[:-1])


class Factors(nn.Module):
    """Entries of a matrix as products of two short vectors, with a shift for row and column.

    Args:
        rows: Rows of the matrix.
        columns: Its columns.
        rank: Length of the vectors.

    Example:
        >>> tuple(Factors(9, 7, 3)(torch.tensor([[8, 6], [0, 0]])).shape)
        (2,)
    """

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.left = normal(rows, rank, scale=rank**-0.5)
        self.right = normal(columns, rank, scale=rank**-0.5)
        self.row_shift = normal(rows, 1, scale=0.0)
        self.column_shift = normal(columns, 1, scale=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map places [B, 2], int64, to values [B]."""
        row, column = x.unbind(-1)
        product = functional.embedding(row, self.left) * functional.embedding(column, self.right)
        shifts = functional.embedding(row, self.row_shift) + functional.embedding(
            column, self.column_shift
        )
        return product.sum(-1) + shifts[..., 0]


def _norm(x: Tensor) -> Tensor:
    """Apply a group norm with one group, without weights; x is [B, H, W, features]."""
    return functional.layer_norm(x, x.shape[1:])


def _twice_as_large(x: Tensor) -> Tensor:
    """Repeat each pixel of [B, H, W, features] in both directions."""
    return x.repeat_interleave(2, 1).repeat_interleave(2, 2)
