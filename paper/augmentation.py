"""From a picture to a tensor: random crops and RandAugment for training, one crop otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

try:
    from timm.data import auto_augment
    from torchvision.transforms import v2
except ImportError as error:
    raise ImportError(f"{error}; install it with: pip install 'optforge[vision]'") from error


def training_transform(size: int, randaugment: Sequence[int] | None) -> Callable[[Any], Tensor]:
    """Return a crop of 5 to 100 % of a picture, a flip and RandAugment; values from -1 to 1.

    Source: the `inception crop` of Vision Transformers' published training code.
    """
    crop = v2.RandomResizedCrop(size, scale=(0.05, 1.0), antialias=True)
    augment = [] if randaugment is None else [rand_augment(randaugment[0], randaugment[1], size)]
    return v2.Compose([crop, v2.RandomHorizontalFlip(), *augment, *to_tensor()])


def evaluation_transform(size: int) -> Callable[[Any], Tensor]:
    """Return the middle of a picture, its short edge at 8/7 of the size; values from -1 to 1."""
    resize = v2.Resize(round(size * 256 / 224), antialias=True)
    return v2.Compose([resize, v2.CenterCrop(size), *to_tensor()])


def mix_up(x: Tensor, y: Tensor, alpha: float, classes: int) -> tuple[Tensor, Tensor]:
    """Mix the pictures of a batch, [B, 3, H, W], with each other, and their labels, [B], likewise.

    Source: Zhang et al., arXiv 1710.09412.
    """
    return v2.MixUp(alpha=alpha, num_classes=classes)(x, y)


def to_tensor() -> list[Any]:
    """Return the last transforms of all: to a tensor with values from -1 to 1."""
    scale = v2.ToDtype(torch.float32, scale=True)
    return [v2.ToImage(), scale, v2.Normalize([0.5] * 3, [0.5] * 3)]


GREY = (128, 128, 128)
# Operations whose strength timm computes as that code does, once its limit of 10 is lifted.
TIMM = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize"),
    *("Color", "Contrast", "Brightness", "Sharpness"),
    *("ShearX", "ShearY", "TranslateXRel", "TranslateYRel"),
)


def rand_augment(operations: int, magnitude: int, size: int) -> auto_augment.RandAugment:
    """Return RandAugment: some of sixteen operations, always applied, all of one magnitude.

    A magnitude of 10 rotates by 30 degrees, one of 15 by 45.

    Args:
        operations: Operations of a picture, each drawn anew.
        magnitude: Strength on a scale of 10, which may be exceeded.
        size: Pixels along one edge; shifts and holes are measured in it.

    Source: Cubuk et al., arXiv 1909.13719; strengths as in google-research/big_vision, which
    has them from tensorflow/tpu's EfficientNet.
    """
    options = {
        "img_mean": GREY,
        "magnitude_max": magnitude,
        "translate_pct": 100 / 224,
        "interpolation": Image.Resampling.NEAREST,
    }
    more = [
        # The threshold is a byte there: 256 overflows to 0, and magnitude 15 means 128.
        partial(auto_augment.solarize, thresh=int(magnitude / 10 * 256) % 256),
        partial(auto_augment.solarize_add, add=int(magnitude / 10 * 110)),
        partial(_cut_out, reach=round(magnitude / 10 * 40 * size / 224)),
    ]
    known = [auto_augment.AugmentOp(name, 1.0, magnitude, options) for name in TIMM]
    return auto_augment.RandAugment([*known, *more], operations)


def _cut_out(picture: Image.Image, reach: int) -> Image.Image:
    """Make a square grey, twice as wide as it reaches, around any pixel."""
    x, y = (random.randrange(edge) for edge in picture.size)
    changed = picture.copy()
    changed.paste(GREY, (x - reach, y - reach, x + reach, y + reach))
    return changed
