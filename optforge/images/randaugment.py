"""RandAugment on the scale of Vision Transformers' published training code."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from optforge.images.packages import package

_GREY = (128, 128, 128)
_SCALE = 10  # a magnitude of 10 turns by 30 degrees, one of 15 by 45
# Those whose strength timm computes as that code does, given that its limit is lifted.
_TIMM = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize"),
    *("Color", "Contrast", "Brightness", "Sharpness"),
    *("ShearX", "ShearY", "TranslateXRel", "TranslateYRel"),
)


def rand_augment(operations: int, magnitude: int, size: int) -> Callable[[Any], Any]:
    """Some operations out of sixteen, each drawn anew, always applied, all of one magnitude.

    Args:
        operations: How many an image.
        magnitude: On a scale of 10 that may be exceeded.
        size: Pixels along one edge; shifts and holes are measured in it.

    Returns:
        From a Pillow picture to another. Draws from `random` and `numpy.random`.

    Source: Cubuk et al., arXiv 1909.13719; strengths as in google-research/big_vision, which
    has them from tensorflow/tpu's EfficientNet.
    """
    timm: Any = package("timm.data.auto_augment")
    pillow: Any = package("PIL.Image")
    options = {
        "img_mean": _GREY,
        "magnitude_max": magnitude,  # timm's own limit is 10
        "translate_pct": 100 / 224,
        "interpolation": pillow.Resampling.NEAREST,
    }
    share = magnitude / _SCALE
    own = [
        # The threshold is a byte there: 256 overflows to 0, and magnitude 15 means 128.
        partial(timm.solarize, thresh=int(share * 256) % 256),
        partial(timm.solarize_add, add=int(share * 110)),
        partial(_cut_out, reach=round(share * 40 * size / 224)),
    ]
    made = [timm.AugmentOp(name, 1.0, magnitude, options) for name in _TIMM]
    return timm.RandAugment([*made, *own], operations)


def _cut_out(picture: Any, reach: int) -> Any:
    """Make a square grey, twice as wide as it reaches, around any pixel."""
    x, y = (random.randrange(edge) for edge in picture.size)
    changed = picture.copy()
    changed.paste(_GREY, (x - reach, y - reach, x + reach, y + reach))
    return changed
