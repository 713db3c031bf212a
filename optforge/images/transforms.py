"""From a picture to a tensor: random crops and RandAugment for training, one crop else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import Tensor

from optforge.images.packages import package
from optforge.images.randaugment import rand_augment

Transform = Callable[[Any], Tensor]


def training_transform(size: int, randaugment: tuple[int, int] | None) -> Transform:
    """A crop of 5 to 100 % of the picture, a flip, RandAugment, values from -1 to 1.

    Args:
        size: Pixels along one edge.
        randaugment: Operations and magnitude, or None.

    Returns:
        From a Pillow picture to float32 [3, size, size].

    Source: the `inception crop` of Vision Transformers' published training code.
    """
    transforms: Any = package("torchvision.transforms.v2")
    steps = [
        transforms.RandomResizedCrop(size, scale=(0.05, 1.0), antialias=True),
        transforms.RandomHorizontalFlip(),
    ]
    if randaugment is not None:
        steps.append(rand_augment(*randaugment, size))
    return _Coloured(transforms.Compose([*steps, *_to_tensor(transforms)]))


def evaluation_transform(size: int) -> Transform:
    """The middle of the picture, its short edge at 8/7 of the size; values from -1 to 1.

    Args:
        size: Pixels along one edge.

    Returns:
        From a Pillow picture to float32 [3, size, size].
    """
    transforms: Any = package("torchvision.transforms.v2")
    steps = [
        transforms.Resize(round(size * 256 / 224), antialias=True),
        transforms.CenterCrop(size),
    ]
    return _Coloured(transforms.Compose([*steps, *_to_tensor(transforms)]))


def _to_tensor(transforms: Any) -> list[Any]:
    half = [0.5, 0.5, 0.5]
    return [
        transforms.ToImage(),
        transforms.ToDtype(torch.float32, scale=True),
        transforms.Normalize(half, half),
    ]


class _Coloured:
    """Grey pictures and those with transparency become RGB first."""

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        self.transform = transform

    def __call__(self, picture: Any) -> Tensor:
        return self.transform(picture.convert("RGB")).as_subclass(Tensor)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every source of chance that transforms draw from, and put them back afterwards.

    Example:
        >>> with seeded(1):
        ...     first = random.random()
        >>> with seeded(1):
        ...     print(random.random() == first)
        True
    """
    kept = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        numpy.random.set_state(kept[1])
        torch.set_rng_state(kept[2])
