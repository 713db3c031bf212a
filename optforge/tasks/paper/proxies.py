"""The two proxy tasks of the paper: an image classifier and a language model.

Source: Chen et al., Symbolic Discovery of Optimization Algorithms, 2023 (arXiv:2302.06675),
section 2 and appendix: models, data, steps and batch. Neither the schedule nor the split for the
search is given there; ours are those of the other tasks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.models import CausalTransformer, TransformerSize, VisionTransformer, linear
from optforge.tasks.paper.pictures import pictures
from optforge.tasks.paper.sentences import sentences
from optforge.tasks.splits import Data
from optforge.tasks.task import Task


class ColorTransformer(VisionTransformer):
    """A Vision Transformer for images in color, as bytes.

    Args:
        side: Pixels along the image's edge.
        patch: Pixels along a patch's edge, a divisor of ``side``.
        classes: Number of classes.
        size: Width, blocks, heads and expansion.

    Example:
        >>> images = torch.zeros(5, 3, 64, 64, dtype=torch.uint8)
        >>> tuple(ColorTransformer(64, 16, 10, TransformerSize())(images).shape)
        (5, 10)
    """

    def __init__(self, side: int, patch: int, classes: int, size: TransformerSize) -> None:
        super().__init__(side, patch, classes, size)
        self.embed = linear(3 * patch * patch, size.width)

    def patches(self, x: Tensor) -> Tensor:
        """Cut images, uint8 [B, 3, side, side], into flat patches [B * tokens, values]."""
        batch, side, patch = x.shape[0], x.shape[2] // self.patch, self.patch
        x = x.to(self.positions.dtype) / 127.5 - 1
        x = x.reshape(batch, 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(-1, 3 * patch * patch)


class TiedTransformer(CausalTransformer):
    """A language model whose output layer is its embedding.

    Args:
        vocabulary: Number of different tokens.
        length: Tokens of a sequence.
        size: Width, blocks, heads and expansion.

    Example:
        >>> model = TiedTransformer(64, 32, TransformerSize())
        >>> tuple(model(torch.zeros(5, 32, dtype=torch.int64)).shape)
        (5, 32, 64)
    """

    def __init__(self, vocabulary: int, length: int, size: TransformerSize) -> None:
        super().__init__(vocabulary, length, size)
        del self.head

    def logits(self, x: Tensor) -> Tensor:
        """Map features [N, width] to logits [N, vocabulary]."""
        return functional.linear(x, self.embedding)


class PaperVision(Task):
    """The paper's image proxy: a tenth of ImageNet at 64x64, a ViT of three blocks.

    It reads ``imagenet/train/CLASS/*`` in the folder ``OPTFORGE_DATA``. A tenth of the images of
    each class is for training, one in a hundred each for validation and test.

    Example:
        >>> sum(p.numel() for p in PaperVision().model().parameters())
        504040
    """

    name = "paper_vision"
    steps = 30_000
    batch_size = 64
    side = 64
    patch = 16
    classes = 1000
    width = 96
    layers = 3
    heads = 3
    expansion = 4
    shares = (0.1, 0.01, 0.01)

    def data(self) -> Data:
        """Return inputs uint8 [N, 3, side, side]."""
        return pictures("imagenet/train", self.side, self.classes, self.shares)

    def model(self) -> nn.Module:
        """Return the Vision Transformer, 16 tokens, patches of 16x16."""
        size = TransformerSize(self.width, self.layers, self.heads, self.expansion)
        return ColorTransformer(self.side, self.patch, self.classes, size)


class PaperLanguage(Task):
    """The paper's language proxy: LM1B in sequences of 32 tokens, two blocks of width 128.

    It reads all files in ``lm1b`` in the folder ``OPTFORGE_DATA``, a sentence a line, and learns a
    vocabulary of 3,000 pieces (byte-level BPE) from the training part.

    Example:
        >>> sum(p.numel() for p in PaperLanguage().model().parameters())
        781312
    """

    name = "paper_language"
    steps = 20_000
    batch_size = 64
    length = 32
    vocabulary = 3000
    width = 128
    layers = 2
    heads = 2
    expansion = 4
    sequences = (1_280_000, 2048, 2048)

    def data(self) -> Data:
        """Return inputs and targets int64 [N, length]."""
        return sentences("lm1b", self.sequences, self.length, self.vocabulary)

    def model(self) -> nn.Module:
        """Return the language model, its output layer tied to the embedding."""
        size = TransformerSize(self.width, self.layers, self.heads, self.expansion)
        return TiedTransformer(self.vocabulary, self.length, size)

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the negative perplexity."""
        return -torch.exp(self.loss(output, targets))
