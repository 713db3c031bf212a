"""The ladder: five tasks on real data, each several times the cost of the one before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.data.letters import letters
from optforge.tasks.data.mnist import digits, mnist
from optforge.tasks.data.shakespeare import shakespeare, word_pairs
from optforge.tasks.ladder.models import (
    Autoencoder,
    CharacterGRU,
    Factors,
    ResidualNet,
    SmallUNet,
)
from optforge.tasks.models import MLP, CausalTransformer, TransformerSize
from optforge.tasks.splits import Data, Split
from optforge.tasks.task import Task


class Regression(Task):
    """A task whose outputs are values: the mean squared error, and as metric its negative."""

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of outputs and targets of one shape."""
        return functional.mse_loss(output, targets)

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the negative mean squared error."""
        return -functional.mse_loss(output, targets)


class MnistAutoencoder(Regression):
    """MNIST at 14x14 through a code of 12 values."""

    name = "mnist_autoencoder"
    steps = 300
    batch_size = 64
    sizes = (3000, 1000, 1000)
    hidden = (96, 48, 12)

    def data(self) -> Data:
        """Return inputs [N, 14, 14], and the same flattened as targets."""
        return Data(*(Split(part.inputs, part.inputs.flatten(1)) for part in _parts(self.sizes)))

    def model(self) -> nn.Module:
        """Return an autoencoder 196-96-48-12 and back."""
        return Autoencoder((14 * 14, *self.hidden))


class LettersResidual(Task):
    """Letters split by typeface, a small residual network."""

    name = "letters_residual"
    steps = 250
    batch_size = 32
    side = 16
    copies = (12, 5, 4)
    channels = (12, 24)

    def data(self) -> Data:
        """Return inputs [N, side, side]."""
        return letters(self.side, self.copies)

    def model(self) -> nn.Module:
        """Return a network of two stages of two convolutions."""
        return ResidualNet(self.channels, 26)


class ShakespeareGRU(Task):
    """Shakespeare by character, a recurrent network over 32 characters."""

    name = "shakespeare_gru"
    steps = 500
    batch_size = 32
    sequences = (16384, 256)
    length = 32
    vocabulary = 64
    width = 48

    def data(self) -> Data:
        """Return inputs and targets [N, length]."""
        return shakespeare(*self.sequences, self.length, self.vocabulary)

    def model(self) -> nn.Module:
        """Return a language model with one layer of gated units."""
        return CharacterGRU(self.vocabulary, self.width)


class LettersDenoiser(Regression):
    """Noise on letters, told from the letters by a small U-Net: one step of diffusion."""

    name = "letters_denoiser"
    steps = 800
    batch_size = 24
    side = 16
    copies = (12, 1, 1)
    channels = (8, 16, 32)

    def data(self) -> Data:
        """Return inputs [N, 2, side, side], a noisy image and its level; targets are the noise.

        Training images have no noise, because each batch draws it anew.
        """
        parts = letters(self.side, self.copies)
        generator = torch.Generator().manual_seed(0)
        clean = torch.stack([parts.train.inputs, torch.zeros_like(parts.train.inputs)], 1)
        noisy = (_noisy(part.inputs, generator) for part in (parts.validation, parts.test))
        return Data(Split(clean, clean[:, 0]), *(Split(*pair) for pair in noisy))

    def model(self) -> nn.Module:
        """Return a U-Net with three image sizes."""
        return SmallUNet(self.channels)

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Add noise of a random level to each image; the targets are the noise."""
        return _noisy(inputs[:, 0], generator)


class ShakespeareGPT(Task):
    """Shakespeare by character, a causal Transformer of three layers: the top of the ladder."""

    name = "shakespeare_gpt"
    steps = 2000
    batch_size = 32
    sequences = (32768, 256)
    length = 48
    vocabulary = 64
    width = 48
    layers = 3
    heads = 4
    expansion = 4

    def data(self) -> Data:
        """Return inputs and targets [N, length]."""
        return shakespeare(*self.sequences, self.length, self.vocabulary)

    def model(self) -> nn.Module:
        """Return the language model."""
        size = TransformerSize(self.width, self.layers, self.heads, self.expansion)
        return CausalTransformer(self.vocabulary, self.length, size)


class DigitsLinear(Task):
    """Softmax regression on 8x8 digits: convex, so that every useful rule must train it."""

    name = "digits_linear"
    steps = 200
    batch_size = 64
    sizes = (997, 400, 400)

    def data(self) -> Data:
        """Return inputs [N, 8, 8]."""
        return digits(self.sizes)

    def model(self) -> nn.Module:
        """Return a linear map 64-10."""
        return MLP((64, 10))


class WordFactors(Regression):
    """Counts of neighboring words in Shakespeare, factorized: everything is looked up."""

    name = "word_factors"
    steps = 300
    batch_size = 256
    words = 300
    rank = 12

    def data(self) -> Data:
        """Return inputs [N, 2], two words; targets are log(1 + the count of their adjacency)."""
        return _entries(word_pairs(self.words))

    def model(self) -> nn.Module:
        """Return factors of rows and columns, one per word."""
        return Factors(self.words, self.words, self.rank)


LADDER: tuple[type[Task], ...] = (
    MnistAutoencoder,
    LettersResidual,
    ShakespeareGRU,
    LettersDenoiser,
    ShakespeareGPT,
)
SANITY: tuple[type[Task], ...] = (DigitsLinear, WordFactors)


def _parts(sizes: tuple[int, int, int]) -> tuple[Split, ...]:
    return tuple(vars(mnist(sizes, 2)).values())


def _noisy(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return noisy images with their levels [B, 2, side, side], and the noise.

    At level t an image is ``cos(t pi / 2) image + sin(t pi / 2) noise`` (Nichol and Dhariwal, 2021,
    arXiv:2102.09672, without their shift).
    """
    level = torch.rand((len(images), 1, 1), generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    angle = level * (torch.pi / 2)
    noisy = angle.cos() * images + angle.sin() * noise
    return torch.stack([noisy, level.expand_as(noisy)], 1), noise


def _entries(counts: np.ndarray) -> Data:
    """Split the entries of a matrix at random: 60, 20 and 20 percent."""
    order = np.random.default_rng(0).permutation(counts.size)
    places = torch.from_numpy(np.stack(np.divmod(order, counts.shape[1]), 1))
    values = torch.from_numpy(np.log1p(counts.reshape(-1)[order]).astype(np.float32))
    sizes = [counts.size * 3 // 5, counts.size // 5]
    sizes.append(counts.size - sum(sizes))
    parts = zip(places.split(sizes), values.split(sizes), strict=True)
    return Data(*(Split(x.clone(), y.clone()) for x, y in parts))
