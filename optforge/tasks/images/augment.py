"""Strong augmentation of small one-channel images: RandAugment, then Mixup, by torchvision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optforge.tasks.data.cache import require


def strong(
    images: Tensor,
    targets: Tensor,
    generator: torch.Generator,
    *,
    layers: int,
    magnitude: int,
    mixup: float,
    classes: int,
    limits: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Change every image by a few random operations and mix it with its neighbour in the batch.

    Args:
        images: Float [B, 1, side, side].
        targets: Classes, int64 [B].
        generator: The only source of chance.
        layers: Operations an image.
        magnitude: Their strength, from 0 to 30; at 15 an image turns by up to 15 degrees.
        mixup: Both parameters of the Beta distribution of the mixing weight; 0: no mixing.
        classes: Number of classes.
        limits: The values of black and white.

    Returns:
        Images alike, and targets: probabilities, float [B, classes].

    Raises:
        TaskError: If torchvision is missing.

    Source: Cubuk et al., RandAugment, 2020 (arXiv:1909.13719); Zhang et al., mixup, 2018
    (arXiv:1710.09412).
    """
    transforms = require("torchvision.transforms.v2", "torchvision", extra="vision")
    black, white = limits
    levels = ((images - black) * (255 / (white - black))).round().clamp(0, 255).to(torch.uint8)
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
        torch.default_generator.manual_seed(_draw(generator))
        changed = _each(transforms.RandAugment(layers, magnitude), levels)
        images = (changed.to(images.dtype) * ((white - black) / 255) + black).to(images.device)
        if mixup:
            mix = transforms.MixUp(alpha=mixup, num_classes=classes)
            return mix(images, targets)
    return images, torch.nn.functional.one_hot(targets, classes).to(images.dtype)


def _each(transform: Any, levels: Tensor) -> Tensor:
    """Pillow is faster than tensors on images this small."""
    images = require("PIL.Image", "pillow")
    numpy = require("numpy", "numpy")
    pictures = (transform(images.fromarray(one)) for one in levels.squeeze(1).cpu().numpy())
    return torch.from_numpy(numpy.stack([numpy.asarray(one) for one in pictures])).unsqueeze(1)


def _draw(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
