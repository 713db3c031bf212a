"""Test images that differ from all training images in one way, as ImageNet's variants do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

_NOISE = 0.25  # standard deviation, where ink is 1
_BEND = 0.2  # standard deviation of a displacement, where half an image is 1
_KNOTS = 4  # displacements along an edge, between which they are interpolated
_SIZE = 0.65  # of a character, in its usual size


def noisy(images: Tensor) -> Tensor:
    """Add normal noise to images [N, side, side] with values from 0 to 1, and clip them.

    Example:
        >>> float(noisy(torch.full((1, 64, 64), 0.5)).std()) > 0.2
        True
    """
    return (images + _NOISE * _normal(images.shape)).clamp(0, 1)


def distorted(images: Tensor) -> Tensor:
    """Bend each image of [N, side, side] by a smooth random field of displacements.

    Example:
        >>> tuple(distorted(torch.rand(3, 16, 16)).shape)
        (3, 16, 16)
    """
    knots = _BEND * _normal((len(images), 2, _KNOTS, _KNOTS))
    field = functional.interpolate(knots, images.shape[-2:], mode="bicubic", align_corners=True)
    return _sampled(images, _grid(images, 1.0) + field.permute(0, 2, 3, 1))


def smaller(images: Tensor) -> Tensor:
    """Shrink what is on images [N, side, side] to 65 % about the middle, on black.

    Example:
        >>> images = torch.ones(1, 32, 32)
        >>> round(float(smaller(images).mean()), 1)
        0.4
    """
    return _sampled(images, _grid(images, 1 / _SIZE))


# By name: what is done to test images [N, side, side]; the same at every call.
SHIFTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "noise": noisy,
    "distortion": distorted,
    "scale": smaller,
}


def _grid(images: Tensor, scale: float) -> Tensor:
    """Return where each pixel of the result is read, [N, side, side, 2]."""
    affine = torch.tensor([[scale, 0.0, 0.0], [0.0, scale, 0.0]]).expand(len(images), 2, 3)
    size = [len(images), 1, *images.shape[-2:]]
    return functional.affine_grid(affine, size, align_corners=False)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)


def _normal(shape: torch.Size | tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
