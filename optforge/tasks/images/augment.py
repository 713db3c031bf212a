"""Strong augmentation of small one-channel images: RandAugment, then Mixup, by torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optforge.tasks.data.cache import require


@dataclass(frozen=True)
class StrongAugmentation:
    """Changes each image by a few random operations and mixes it with its neighbor in the batch.

    Args:
        layers: Number of operations per image.
        magnitude: Strength of the operations, from 0 to 30; at 15 an image is rotated by up to 15
            degrees.
        mixup: Both parameters of the Beta distribution of the mixing weight; 0 for no mixing.
        classes: Number of classes.
        limits: Values of black and white.

    Source: Cubuk et al., RandAugment, 2020 (arXiv:1909.13719); Zhang et al., mixup, 2018
    (arXiv:1710.09412).
    """

    layers: int
    magnitude: int
    mixup: float
    classes: int
    limits: tuple[float, float]

    def __call__(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return changed images, and targets as probabilities.

        Args:
            images: Float [B, 1, side, side].
            targets: Classes, int64 [B].
            generator: The only source of randomness.

        Returns:
            Images of the same shape, and probabilities, float [B, classes].

        Raises:
            TaskError: If torchvision is missing.
        """
        transforms = require("torchvision.transforms.v2", "torchvision", extra="vision")
        black, white = self.limits
        levels = ((images - black) * (255 / (white - black))).round().clamp(0, 255)
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
            torch.default_generator.manual_seed(_draw(generator))
            randaugment = transforms.RandAugment(self.layers, self.magnitude)
            changed = _each(randaugment, levels.to(torch.uint8))
            images = (changed.to(images.dtype) * ((white - black) / 255) + black).to(images.device)
            if self.mixup:
                mix = transforms.MixUp(alpha=self.mixup, num_classes=self.classes)
                return mix(images, targets)
        return images, torch.nn.functional.one_hot(targets, self.classes).to(images.dtype)


def _each(transform: Any, levels: Tensor) -> Tensor:
    """Apply the operations image by image with Pillow, faster than tensors at this size."""
    images = require("PIL.Image", "pillow")
    numpy = require("numpy", "numpy")
    arrays = levels.squeeze(1).cpu().numpy()
    pictures = (transform(images.fromarray(array)) for array in arrays)
    return torch.from_numpy(
        numpy.stack([numpy.asarray(picture) for picture in pictures])
    ).unsqueeze(1)


def _draw(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
