"""Images with texts: tables of files as OpenCLIP reads them, Parquet files, or a hub's data set.

`python -m paper.pairs FOLDER` writes a few pictures of digits with texts to try the script on.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from paper.examples import Item, content_seed, seeded
from paper.hub import HELD, both_parts, columns
from paper.options import TrainingError
from paper.pictures import write_digits as write_pictures

PATHS, TEXTS = ("filepath", "path", "image"), ("title", "caption", "text", "txt")
RECALLS = (1, 5, 10)
Row = tuple[Any, str, int]  # an image or its file, its text, and the number of the image


@dataclass(frozen=True)
class ImageTexts:
    """Training and validation pairs.

    Args:
        train: Pairs to train on.
        validation: Pairs to evaluate on; an image with several texts is in several pairs.
        digest: A hash that differs for other pairs.
    """

    train: Sequence[Row]
    validation: Sequence[Row]
    digest: str


@dataclass
class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Pairs as tensors, with chance that depends on (seed, epoch, index) alone.

    Args:
        rows: The pairs.
        transform: From a picture to a tensor.
        tokens: From texts to numbers int64 ``[texts, length]``.
        seed: Seed of the transform.
    """

    rows: Sequence[Row]
    transform: Callable[[Any], Tensor]
    tokens: Callable[[list[str]], Tensor]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Item) -> tuple[Tensor, Tensor]:
        picture, text, _ = self.rows[item[1]]
        if isinstance(picture, Path):
            picture = _read(picture)
        with seeded(content_seed(self.seed, "augmentation", *item)):
            image = self.transform(picture.convert("RGB")).as_subclass(Tensor)
        return image, self.tokens([text])[0]

    def owners(self) -> Tensor:
        """Return the number of the image of each text, int64 ``[texts]``."""
        return torch.tensor([self.rows[index][2] for index in range(len(self.rows))])


def open_pairs(place: str) -> ImageTexts:
    """Find images with texts; images are read when they are needed.

    Args:
        place: A folder with ``train.csv`` and ``val.csv`` (or ``.tsv``), whose columns ``filepath``
            and ``title`` name an image file, as seen from the folder, and its text; a folder of
            Parquet files whose names begin with the split's; or ``hub:NAME`` for a data set that
            the package ``datasets`` downloads.

    Raises:
        TrainingError: If nothing is found there.
    """
    folder = Path(place)
    if place.startswith("hub:") or any(folder.rglob("*.parquet")):
        return _of_datasets(place.removeprefix("hub:"))
    tables = {
        part: table
        for part in ("train", *HELD)
        for end in ("csv", "tsv")
        if (table := folder / f"{part}.{end}").is_file()
    }
    held = next((part for part in HELD if part in tables), None)
    if "train" not in tables or held is None:
        raise TrainingError(
            f"{place} needs a table train.csv and one of {', '.join(f'{p}.csv' for p in HELD)}, "
            "with the columns filepath and title; or give hub:NAME"
        )
    parts = [_table(tables[part]) for part in ("train", held)]
    digest = hashlib.sha256(b"".join(tables[part].read_bytes() for part in ("train", held)))
    return ImageTexts(parts[0], parts[1], digest.hexdigest()[:16])


def _table(path: Path) -> list[Row]:
    """Return the rows of a table; rows of one file have one number."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingError(f"the table {path} cannot be read: {error}") from error
    if not rows:
        raise TrainingError(f"the table {path} has no rows; give one for each pair")
    image, text = (_column(rows[0], names, str(path)) for names in (PATHS, TEXTS))
    numbers: dict[str, int] = {}
    return [
        (path.parent / row[image], row[text] or "", numbers.setdefault(row[image], len(numbers)))
        for row in rows
    ]


def _column(columns: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    name = next((name for name in names if name in columns), None)
    if name is None:
        raise TrainingError(
            f"{where} has the columns {', '.join(columns)}; it needs one of {', '.join(names)}"
        )
    return name


def _read(path: Path) -> Any:
    try:
        return Image.open(path)
    except OSError as error:
        raise TrainingError(f"the image {path} cannot be read: {error}") from error


def _of_datasets(name: str) -> ImageTexts:
    splits = both_parts(name)
    images = columns(splits[0], "Image")
    if not images:
        raise TrainingError(f"the data set {name} has no column of images")
    text = _column(splits[0].features, TEXTS, f"the data set {name}")
    parts = [_Rows(split, images[0], text) for split in splits]
    sizes = "|".join(f"{part.split.split} {len(part)} {part.split[0][text]}" for part in parts)
    return ImageTexts(parts[0], parts[1], hashlib.sha256(sizes.encode()).hexdigest()[:16])


@dataclass(frozen=True)
class _Rows(Sequence[Row]):
    """A split of a data set; of several texts of an image the first one is taken."""

    split: Any
    image: str
    text: str

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: Any) -> Any:
        row = self.split[index]
        text = row[self.text]
        return row[self.image], str(text[0] if isinstance(text, list) else text), index


def recalls(directions: Tensor, owners: Tensor) -> dict[str, float]:
    """Return recall at 1, 5 and 10: images that find one of their texts, texts that find theirs.

    Args:
        directions: Of an image and its text, [N, 2, D]; an image with several texts is repeated.
        owners: Number of the image of each text, int64 [N].

    Example:
        >>> shares = recalls(torch.eye(12).unsqueeze(1).expand(12, 2, 12), torch.arange(12))
        >>> shares["image_to_text_1"], shares["text_to_image_10"]
        (1.0, 1.0)
    """
    distinct = owners.unique()
    first = torch.stack([(owners == number).nonzero()[0, 0] for number in distinct])
    cosines = directions[first, 0] @ directions[:, 1].T  # [images, texts]
    right = distinct[:, None] == owners
    shares: dict[str, float] = {}
    both = {"image_to_text": (cosines, right), "text_to_image": (cosines.T, right.T)}
    for name, (values, is_right) in both.items():
        order = values.argsort(dim=1, descending=True, stable=True)
        hits = is_right.gather(1, order)
        shares |= {f"{name}_{k}": hits[:, :k].any(1).double().mean().item() for k in RECALLS}
    return shares


def write_digits(folder: Path, train: int = 6, held: int = 3) -> None:
    """Write scikit-learn's pictures of digits with texts: ``train.csv``, ``val.csv``, images."""
    write_pictures(folder, train, held)
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    for part in ("train", "val"):
        with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["filepath", "title"])
            for path in sorted((folder / part).rglob("*.png")):
                digit = words[int(path.parent.name)]
                table.writerow([os.path.relpath(path, folder), f"a scan of the digit {digit}"])


if __name__ == "__main__":
    write_digits(Path(sys.argv[1]))
