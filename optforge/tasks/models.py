"""Small models that train well many at a time: few kernels, and nothing ``vmap`` cannot batch.

Tokens run flat, [batch * tokens, width], through every linear map: under ``vmap`` that is one
batched matrix product, where three dimensions would copy the weights once per example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.language import mark_matrix


class MLP(nn.Module):
    """Fully connected layers with ReLU between them.

    Args:
        sizes: The widths from input to output.

    Example:
        >>> tuple(MLP((64, 32, 10))(torch.zeros(5, 8, 8)).shape)
        (5, 10)
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            linear(wide, narrow, gain=math.sqrt(2), bias=True) for wide, narrow in pairwise(sizes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, ...] to logits [B, classes]."""
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)


@dataclass(frozen=True)
class TransformerSize:
    """How large a Transformer is.

    Args:
        width: Features of a token.
        layers: Number of blocks.
        heads: Attention heads of each, a divisor of the width.
        expansion: Width of the hidden layer over ``width``.
    """

    width: int = 16
    layers: int = 3
    heads: int = 2
    expansion: int = 2


class Block(nn.Module):
    """One pre-norm Transformer block; the norms carry no weights, the next map absorbs them.

    Args:
        size: Of the whole model; the number of blocks scales what each adds to the residual.
    """

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.width, self.heads = size.width, size.heads
        width, hidden = size.width, size.expansion * size.width
        added = 1 / math.sqrt(2 * size.layers)
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width, gain=added)
        self.up = linear(width, hidden, gain=math.sqrt(2))
        self.down = linear(hidden, width, gain=added)

    def forward(self, x: Tensor, tokens: int, mask: Tensor | None = None) -> Tensor:
        """Map [batch * tokens, width] to the same shape; ``mask`` is added to the scores."""
        x = x + self.out(self.attend(self.qkv(self.norm(x)), tokens, mask))
        return x + self.down(functional.relu(self.up(self.norm(x))))

    def norm(self, x: Tensor) -> Tensor:
        """Shift and scale every token to mean 0 and variance 1."""
        return functional.layer_norm(x, (self.width,))

    def attend(self, qkv: Tensor, tokens: int, mask: Tensor | None) -> Tensor:
        """Compute attention step by step: the fused kernel has no batching rule on the CPU."""
        size = self.width // self.heads
        split = qkv.reshape(-1, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        scores = (query * size**-0.5) @ key.transpose(-1, -2)
        weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        return (weights @ value).transpose(1, 2).reshape(-1, self.width)


class VisionTransformer(nn.Module):
    """Square patches as tokens, pre-norm blocks, mean over the tokens.

    Args:
        side: Pixels along the image's edge.
        patch: Pixels along a patch's edge, a divisor of ``side``.
        classes: Number of classes.
        size: Width, blocks, heads and expansion.

    Example:
        >>> tuple(VisionTransformer(28, 7, 10)(torch.zeros(5, 28, 28)).shape)
        (5, 10)

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, 2021 (arXiv:2010.11929).
    """

    def __init__(
        self,
        side: int,
        patch: int,
        classes: int,
        size: TransformerSize = TransformerSize(),
    ) -> None:
        super().__init__()
        width = size.width
        self.patch, self.width, self.tokens = patch, width, (side // patch) ** 2
        self.embed = linear(patch * patch, width)
        self.positions = normal(self.tokens, width, scale=width**-0.5)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.head = linear(width, classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, side, side] to logits [B, classes]."""
        batch = x.shape[0]
        x = self.embed(self.patches(x))
        x = x.reshape(batch, self.tokens, self.width) + self.positions
        x = x.reshape(-1, self.width)
        for block in self.blocks:
            x = block(x, self.tokens)
        x = functional.layer_norm(x, (self.width,))
        return self.head(x.reshape(batch, self.tokens, self.width).mean(1))

    def patches(self, x: Tensor) -> Tensor:
        """Cut images [B, side, side] into flat patches [B * tokens, pixels]."""
        batch, side, patch = x.shape[0], x.shape[1] // self.patch, self.patch
        x = x.reshape(batch, side, patch, side, patch).transpose(2, 3)
        return x.reshape(-1, patch * patch)


class CausalTransformer(nn.Module):
    """A language model: every token sees itself and what came before.

    Args:
        vocabulary: Number of different tokens.
        length: Tokens of a sequence.
        size: Width, blocks, heads and expansion.

    Example:
        >>> model = CausalTransformer(vocabulary=64, length=32)
        >>> tuple(model(torch.zeros(5, 32, dtype=torch.int64)).shape)
        (5, 32, 64)

    Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
    """

    mask: Tensor

    def __init__(
        self,
        vocabulary: int,
        length: int,
        size: TransformerSize = TransformerSize(width=24, layers=2),
    ) -> None:
        super().__init__()
        self.width = width = size.width
        self.embedding = normal(vocabulary, width, scale=width**-0.5)
        self.positions = normal(length, width, scale=width**-0.5)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.head = linear(width, vocabulary)
        # A large finite number: after softmax exactly 0, and no infinity minus infinity.
        mask = torch.full((length, length), -1e9).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, T], int64, to logits [B, T, vocabulary]; T is at most ``length``."""
        batch, length = x.shape
        x = functional.embedding(x, self.embedding) + self.positions[:length]
        x = x.reshape(-1, self.width)
        for block in self.blocks:
            x = block(x, length, self.mask[:length, :length])
        x = self.logits(functional.layer_norm(x, (self.width,)))
        return x.reshape(batch, length, -1)

    def logits(self, x: Tensor) -> Tensor:
        """Map features [N, width] to logits [N, vocabulary]."""
        return self.head(x)


class Convolution(nn.Module):
    """A convolution as one matrix product over patches; features come last.

    Under ``vmap`` a convolution would become a grouped one, which the CPU runs slowly.

    Args:
        inputs: Features of an input pixel.
        outputs: Features of an output pixel.
        kernel: Pixels along the kernel's edge, odd.
        stride: Pixels from one patch to the next.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.linear = linear(inputs * kernel * kernel, outputs, gain=math.sqrt(2), bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H, W, inputs] to [B, H / stride, W / stride, outputs]."""
        edge = self.kernel // 2
        x = functional.pad(x, (0, 0, edge, edge, edge, edge))
        patches = x.unfold(1, self.kernel, self.stride).unfold(2, self.kernel, self.stride)
        batch, height, width = patches.shape[:3]
        x = self.linear(patches.reshape(batch * height * width, -1))
        return x.reshape(batch, height, width, -1)


class ConvNet(nn.Module):
    """Strided convolutions with ReLU, then one linear map of all that is left.

    Args:
        side: Pixels along the image's edge.
        channels: Features after each convolution; each halves the edge.
        classes: Number of classes.

    Example:
        >>> tuple(ConvNet(16, (8, 16), 26)(torch.zeros(5, 16, 16)).shape)
        (5, 26)
    """

    def __init__(self, side: int, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        pairs = pairwise((1, *channels))
        self.convolutions = nn.ModuleList(Convolution(few, many) for few, many in pairs)
        edge = -(-side // 2 ** len(channels))
        self.head = linear(edge * edge * channels[-1], classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, side, side] to logits [B, classes]."""
        x = x[..., None]
        for convolution in self.convolutions:
            x = functional.relu(convolution(x))
        return self.head(x.flatten(1))


def linear(inputs: int, outputs: int, gain: float = 1.0, bias: bool = False) -> nn.Linear:
    """Return a linear map with weights from N(0, gain^2 / inputs) and biases of zero.

    Args:
        inputs: Number of input features.
        outputs: Number of output features.
        gain: Standard deviation of the output for inputs of deviation 1.
        bias: Whether it has a bias.

    Returns:
        The module, weight [outputs, inputs].
    """
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=gain * inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def normal(*shape: int, scale: float) -> nn.Parameter:
    """Return a parameter drawn from N(0, scale^2); it is looked up or added, so no hidden matrix.

    Args:
        shape: Shape of the parameter.
        scale: Standard deviation of its elements.

    Returns:
        The parameter.
    """
    return mark_matrix(nn.Parameter(torch.randn(*shape) * scale))
