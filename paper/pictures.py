"""Pictures with classes: folders as ImageNet's, Parquet files, or a data set of a hub.

`python -m paper.pictures FOLDER` writes a few pictures of digits to try the scripts on.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from paper.hub import HELD, both_parts, columns
from paper.options import TrainingError

try:
    from torchvision.datasets import ImageFolder
except ImportError as error:
    raise ImportError(f"{error}; install it with: pip install 'optforge[vision]'") from error


@dataclass(frozen=True)
class Pictures:
    """Training and validation pictures: sequences of pairs of a Pillow picture and its class.

    Args:
        train: Pictures to train on.
        validation: Pictures to evaluate on.
        classes: Names of the classes, in the order of their numbers.
        digest: A hash that differs for other pictures.
    """

    train: Any
    validation: Any
    classes: tuple[str, ...]
    digest: str


def open_pictures(place: str) -> Pictures:
    """Find pictures; they are read when they are needed.

    Args:
        place: A folder with ``train/CLASS/picture.jpg`` and ``val/CLASS/picture.jpg``, a folder of
            Parquet files whose names begin with the split's, or ``hub:NAME`` for a data set that
            the package ``datasets`` downloads.

    Raises:
        TrainingError: If nothing is found there, or the two parts have different classes.
    """
    if place.startswith("hub:"):
        return _from_datasets(place.removeprefix("hub:"))
    folder = Path(place)
    if not folder.is_dir():
        raise TrainingError(
            f"{place} is not a folder; give one with train/ and val/, or hub:NAME for a data set "
            "of the Hugging Face hub"
        )
    return _from_datasets(place) if any(folder.rglob("*.parquet")) else _from_folders(folder)


def _from_folders(folder: Path) -> Pictures:
    held = next((folder / name for name in HELD if (folder / name).is_dir()), None)
    if held is None or not (folder / "train").is_dir():
        raise TrainingError(
            f"{folder} needs a folder train/ and one of {', '.join(HELD)}, each with a folder for "
            "every class"
        )
    try:
        parts = [ImageFolder(part) for part in (folder / "train", held)]
        files = [path for part in parts for path, _ in part.samples]
        # Sizes of at most 10,000 files; a million would take minutes on a network.
        sizes = [str(os.path.getsize(path)) for path in files[:: -(-len(files) // 10_000)]]
    except OSError as error:
        raise TrainingError(f"pictures in {folder} cannot be read: {error}") from error
    if different := sorted(set(parts[0].classes) ^ set(parts[1].classes)):
        raise TrainingError(
            f"train and {held.name} of {folder} have different classes: "
            f"{', '.join(different[:5])}; both need a folder for every class"
        )
    digest = _digest([*(path[len(str(folder)) :] for path in files), *sizes])
    return Pictures(parts[0], parts[1], tuple(parts[0].classes), digest)


def _from_datasets(name: str) -> Pictures:
    parts = both_parts(name)
    features = parts[0].features
    images, labels = (columns(parts[0], kind) for kind in ("Image", "ClassLabel"))
    if len(images) != 1 or len(labels) != 1:
        raise TrainingError(
            f"the data set {name} has {len(images)} columns of pictures and {len(labels)} of "
            f"classes among {', '.join(features)}; it needs one of each"
        )
    classes = features[labels[0]].names
    known = [(part.info.splits or {}).get(str(part.split)) for part in parts]
    sizes = [
        f"{part.split} {len(part)} {getattr(info, 'num_bytes', None)}"
        for part, info in zip(parts, known, strict=True)
    ]
    rows = [_Rows(part, images[0], labels[0]) for part in parts]
    return Pictures(rows[0], rows[1], tuple(classes), _digest([*classes, *sizes]))


@dataclass(frozen=True)
class _Rows:
    """A split of a data set as a sequence of pairs."""

    split: Any
    image: str
    label: str

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        row = self.split[index]
        return row[self.image], int(row[self.label])


def _digest(parts: Iterable[str]) -> str:
    text = b"".join(part.encode("utf-8", "surrogateescape") + b"\0" for part in parts)
    return hashlib.sha256(text).hexdigest()[:16]


def write_digits(folder: Path, train: int = 6, held: int = 3) -> None:
    """Write scikit-learn's pictures of digits as ``train/DIGIT/*.png`` and ``val/DIGIT/*.png``."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    for digit in range(10):
        chosen = digits.images[digits.target == digit][: train + held]
        for number, values in enumerate(chosen):
            path = folder / ("train" if number < train else "val") / str(digit) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((values * 15).astype(numpy.uint8)).save(path)


if __name__ == "__main__":
    write_digits(Path(sys.argv[1]))
