"""The pixels of a photograph, as values at coordinates."""

from __future__ import annotations

import numpy as np
import torch

from optforge.tasks.data.cache import require
from optforge.tasks.splits import Data, Split


def photo(sizes: tuple[int, int, int] = (16384, 4096, 4096), name: str = "china.jpg") -> Data:
    """Return positions and colors of pixels, drawn without repetition.

    Args:
        sizes: Numbers of pixels of the training, validation and test split.
        name: An image of scikit-learn: ``china.jpg`` or ``flower.jpg``.

    Returns:
        Inputs float32 ``[N, 2]``, row and column from -1 to 1; targets float32 ``[N, 3]``, red,
        green and blue from -1 to 1.
    """
    pixels = require("sklearn.datasets", "scikit-learn").load_sample_image(name)
    height, width = pixels.shape[:2]
    drawn = np.random.default_rng(0).permutation(height * width)[: sum(sizes)]
    rows, columns = np.divmod(drawn, width)
    places = np.stack([rows / (height - 1), columns / (width - 1)], 1) * 2 - 1
    colors = pixels.reshape(-1, 3)[drawn] / 127.5 - 1
    inputs, targets = (torch.from_numpy(a.astype(np.float32)) for a in (places, colors))
    parts = zip(inputs.split(sizes), targets.split(sizes), strict=True)
    return Data(*(Split(x.clone(), y.clone()) for x, y in parts))
