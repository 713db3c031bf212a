"""A diffusion task: characters with noise, from which a U-Net tells the noise."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks.attributes import set_attributes
from optforge.tasks.data.cache import require
from optforge.tasks.data.glyphs import glyphs
from optforge.tasks.diffusion.scores import DRAWN, LEVELS, STEPS, distances, draw, noise_errors
from optforge.tasks.ladder.rungs import Regression
from optforge.tasks.splits import Data, Split


class Denoiser(nn.Module):
    """A U-Net of diffusers that reads the level of the noise from its input.

    Args:
        model: Maps images and levels to noise.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 2, side, side], a noisy image and its level, to noise [B, 1, side, side]."""
        return self.model(x[:, :1], x[:, 1, 0, 0].round().long()).sample


class GlyphDiffusion(Regression):
    r"""Tell noise from images of 100 characters, at all levels of a diffusion of 1,000 steps.

    With the schedule :math:`\bar\alpha_t` of DDPM, its linear one, the input is
    :math:`\sqrt{\bar\alpha_t}\,x + \sqrt{1 - \bar\alpha_t}\,\epsilon`, the target
    :math:`\epsilon`, the loss the mean squared error. Training draws levels and noise anew in each
    batch; evaluation has fixed noise, and levels spread evenly from 0 to 999.

    Attributes:
        side: Pixels along one edge, a multiple of 8.
        widths: Features at each of three sizes of the image, multiples of 8.
        copies: Variants of each character and typeface, for training, validation and test.

    Args:
        name: The task's name, which decides the seeds; the class's name by default.
        changes: Values of attributes.

    Raises:
        TaskError: If there is no such attribute, or its value is not allowed.

    Example:
        >>> GlyphDiffusion("mine", side=48, steps=50).side
        48

    Source: Ho et al., Denoising Diffusion Probabilistic Models, 2020 (arXiv:2006.11239), equation
    14.
    """

    steps = 400
    batch_size = 32
    evaluation_period = 20
    side: int = 16
    widths: tuple[int, int, int] = (16, 32, 32)
    copies: tuple[int, int, int] = (6, 1, 1)

    def __init__(self, name: str = "", **changes: Any) -> None:
        set_attributes(self, "a diffusion task", name, changes)
        if self.side % 8 or any(width % 8 for width in self.widths):
            raise TaskError(
                f"side and widths of task {self.name!r} are {self.side} and {self.widths}; they "
                "must be multiples of 8"
            )

    def data(self) -> Data:
        """Return inputs [N, 2, side, side]; of the training split, without noise at level 0."""
        train, *others = self.images()
        generator = torch.Generator().manual_seed(0)
        clean = torch.cat([train, torch.zeros_like(train)], 1)
        noisy = (self._noisy(x, even_levels(len(x)), generator) for x in others)
        return Data(Split(clean, train), *(Split(*pair) for pair in noisy))

    def images(self) -> tuple[Tensor, ...]:
        """Return the images of each part, [N, 1, side, side], from -1 to 1 in training."""
        flat = glyphs(self.side, self.copies, 100)
        low, high = flat.train.inputs.aminmax()
        parts = (flat.train, flat.validation, flat.test)
        return tuple(2 * (part.inputs.unsqueeze(1) - low) / (high - low) - 1 for part in parts)

    def scores(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Return the distances of 200 drawn images, and errors where noise is low and high."""
        far = distances(self.images()[2], self.drawn(model, DRAWN, STEPS, seed))
        return {**far, **noise_errors(model, self.splits.test)}

    def drawn(self, model: nn.Module, count: int, steps: int, seed: int) -> Tensor:
        """Draw images [count, 1, side, side], from -1 to 1, as :func:`draw` does."""
        return draw(model, count, self.side, steps, seed)

    def model(self) -> nn.Module:
        """Return diffusers' U-Net with attention at its smallest size, without dropout."""
        package = require("diffusers", "diffusers", "diffusion")
        return Denoiser(
            package.UNet2DModel(
                sample_size=self.side,
                in_channels=1,
                out_channels=1,
                layers_per_block=1,
                block_out_channels=tuple(self.widths),
                norm_num_groups=8,
                down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            )
        )

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Add noise of a random level to each image; the targets are the noise."""
        levels = torch.randint(LEVELS, (len(inputs),), generator=generator)
        return self._noisy(inputs[:, :1], levels, generator)

    def _noisy(
        self, images: Tensor, levels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        noisy = self._scheduler.add_noise(images, noise, levels)
        shown = levels.to(images).reshape(-1, 1, 1, 1).expand_as(images)
        return torch.cat([noisy, shown], 1), noise

    @cached_property
    def _scheduler(self) -> Any:
        return require("diffusers", "diffusers", "diffusion").DDPMScheduler(LEVELS)


def even_levels(count: int) -> Tensor:
    """Return levels of noise, int64 [count], spread evenly from 0 to 999."""
    return torch.arange(count) * LEVELS // count
