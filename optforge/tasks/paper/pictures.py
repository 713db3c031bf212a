"""Images of a folder of classes, cut and reduced to small squares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays, cached, require
from optforge.tasks.data.characters import PARTS
from optforge.tasks.paper.folder import data_folder
from optforge.tasks.splits import Data, Split

_ENDINGS = {".jpeg", ".jpg", ".png", ".bmp", ".webp"}
_THREADS = 8  # the decoder runs outside of Python's lock


def pictures(folder: str, side: int, classes: int, shares: Sequence[float]) -> Data:
    """Return images of ``CLASS/*`` below a folder, disjoint shares of each class.

    Which part a file belongs to follows from its name alone. The largest square in the middle of
    an image is averaged down to ``side`` x ``side``.

    Args:
        folder: The folder, below that of all data.
        side: Pixels along an edge.
        classes: The largest number of classes that a model can tell.
        shares: Share of the files for training, validation and test.

    Returns:
        Inputs uint8 ``[N, 3, side, side]``, targets int64 ``[N]``, classes in the order of names.

    Raises:
        TaskError: If the folder is not there, or holds too many classes or too few images.
    """
    root = data_folder(folder, "one folder of images for each class")
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    if not 1 < len(names) <= classes:
        raise TaskError(f"{root} holds {len(names)} folders of classes; 2 to {classes} are allowed")
    files = {part: _files(root, names, part, shares) for part in PARTS}
    for part, chosen in files.items():
        if not chosen:
            raise TaskError(
                f"{root} yields no image for the {part} split; add images, or raise `shares`"
            )
    key = {"version": 1, "side": side, "files": _digest(root, files)}
    key["pillow"] = require("PIL", "pillow").__version__
    arrays = cached("pictures", key, lambda: _build(files, side))
    return Data(
        *(
            Split(torch.from_numpy(arrays[part]), torch.from_numpy(arrays[f"{part}_classes"]))
            for part in PARTS
        )
    )


def _digest(root: Path, files: dict[str, list[tuple[Path, int]]]) -> str:
    listing = "\n".join(
        f"{part} {file.relative_to(root)} {file.stat().st_size}"
        for part, chosen in files.items()
        for file, _ in chosen
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def _files(
    root: Path, names: Sequence[str], part: str, shares: Sequence[float]
) -> list[tuple[Path, int]]:
    bounds: dict[str, tuple[float, float]] = dict(zip(PARTS, _bounds(shares), strict=True))
    low, high = bounds[part]
    return [
        (file, number)
        for number, name in enumerate(names)
        for file in sorted((root / name).iterdir())
        if file.suffix.lower() in _ENDINGS and low <= _draw(f"{name}/{file.name}") < high
    ]


def _bounds(shares: Sequence[float]) -> list[tuple[float, float]]:
    ends = [0.0, *np.cumsum(shares).tolist()]
    return list(zip(ends[:-1], ends[1:], strict=True))


def _draw(name: str) -> float:
    """Return a number from 0 to 1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def _build(files: dict[str, list[tuple[Path, int]]], side: int) -> Arrays:
    arrays: Arrays = {}
    with ThreadPoolExecutor(_THREADS) as threads:
        for part, chosen in files.items():
            images = threads.map(lambda pair: _small(pair[0], side), chosen)
            arrays[part] = np.stack(list(images))
            arrays[f"{part}_classes"] = np.array([number for _, number in chosen], np.int64)
    return arrays


def _small(file: Path, side: int) -> np.ndarray:
    """Return an image, uint8 ``[3, side, side]``."""
    pillow = require("PIL.Image", "pillow")
    try:
        with pillow.open(file) as image:
            image.draft("RGB", (2 * side, 2 * side))  # JPEG decodes to half or less at once
            color = image.convert("RGB")
    except OSError as error:
        raise TaskError(f"cannot read the image {file}: {error}; replace or remove it") from error
    edge = min(color.size)
    left, top = (color.width - edge) // 2, (color.height - edge) // 2
    small = color.resize((side, side), pillow.Resampling.BOX, (left, top, left + edge, top + edge))
    return np.asarray(small).transpose(2, 0, 1)
