"""Pictures with classes: folders as ImageNet's, Parquet files, or a data set of a hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from optforge.errors import TrainingError
from optforge.images.digests import digest_of_files, digest_of_splits
from optforge.images.order import Item, content_seed
from optforge.images.packages import package
from optforge.images.transforms import Transform, seeded

_VALIDATION = ("validation", "val", "valid", "test")


class Pictures:
    """A sequence of Pillow pictures and their classes."""

    def __init__(self, rows: Any, columns: tuple[str, str] | None = None) -> None:
        self.rows, self.columns = rows, columns

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        row = self.rows[index]
        if self.columns is None:
            return row
        return row[self.columns[0]], int(row[self.columns[1]])


@dataclass(frozen=True)
class ImageData:
    """Training and validation pictures.

    Args:
        train: To train on.
        validation: To evaluate on.
        classes: Their names, in the order of the numbers.
        digest: A hash by which other pictures are told; see `digests.py`.
    """

    train: Pictures
    validation: Pictures
    classes: tuple[str, ...]
    digest: str = ""


def open_data(place: str) -> ImageData:
    """Find pictures.

    Args:
        place: A folder with ``train/CLASS/picture.jpg`` and ``val/CLASS/picture.jpg``, a folder
            with Parquet files whose names begin with the split's, or ``hub:NAME`` for a data set
            that the package ``datasets`` downloads.

    Returns:
        The data; pictures are read when they are needed.

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
    if any(folder.rglob("*.parquet")):
        return _from_datasets(str(folder))
    return _from_folders(folder)


class Examples(Dataset[tuple[Tensor, int]]):
    """Transformed pictures; what is random depends on (seed, epoch, index) alone.

    Args:
        pictures: The pictures.
        transform: To tensors.
        seed: Of the augmentation.
    """

    def __init__(self, pictures: Pictures, transform: Transform, seed: int = 0) -> None:
        self.pictures, self.transform, self.seed = pictures, transform, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, item: Item) -> tuple[Tensor, int]:
        epoch, index = item
        picture, label = self.pictures[index]
        with seeded(content_seed(self.seed, "augmentation", epoch, index)):
            return self.transform(picture), label


def collate(rows: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Stack a micro-batch: float32 [B, 3, H, W] and int64 [B]."""
    return torch.stack([x for x, _ in rows]), torch.tensor([y for _, y in rows])


def _from_folders(folder: Path) -> ImageData:
    folders: Any = package("torchvision.datasets")
    validation = next((folder / n for n in _VALIDATION if (folder / n).is_dir()), None)
    if validation is None or not (folder / "train").is_dir():
        raise TrainingError(
            f"{folder} needs a folder train/ and one of {', '.join(_VALIDATION)}, each with a "
            "folder for every class"
        )
    try:
        train, held = (folders.ImageFolder(part) for part in (folder / "train", validation))
        files = [path for part in (train, held) for path, _ in part.samples]
        digest = digest_of_files(folder, files)
    except OSError as error:
        raise TrainingError(f"pictures in {folder} cannot be read: {error}") from error
    if train.classes != held.classes:
        different = sorted(set(train.classes) ^ set(held.classes))
        raise TrainingError(
            f"train and {validation.name} of {folder} have different classes: "
            f"{', '.join(different[:5])}; both need a folder for every class"
        )
    return ImageData(Pictures(train), Pictures(held), tuple(train.classes), digest)


def _from_datasets(name: str) -> ImageData:
    datasets: Any = package("datasets")
    try:
        found = datasets.load_dataset(name)
    except Exception as error:  # the package has many ways to fail
        raise TrainingError(
            f"the data set {name} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
    held = next((part for part in _VALIDATION if part in found), None)
    if "train" not in found or held is None:
        raise TrainingError(
            f"the data set {name} has the splits {', '.join(found)}; "
            f"it needs train and one of {', '.join(_VALIDATION)}"
        )
    columns = _columns(name, found["train"].features, datasets)
    classes = tuple(found["train"].features[columns[1]].names)
    train, validation = (Pictures(found[part], columns) for part in ("train", held))
    digest = digest_of_splits((found["train"], found[held]), classes)
    return ImageData(train, validation, classes, digest)


def _columns(name: str, features: Any, datasets: Any) -> tuple[str, str]:
    image = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    label = [key for key, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if len(image) != 1 or len(label) != 1:
        raise TrainingError(
            f"the data set {name} has {len(image)} columns of pictures and {len(label)} of "
            f"classes among {', '.join(features)}; it needs one of each"
        )
    return image[0], label[0]
