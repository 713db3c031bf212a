"""A few generated JPEG files in the formats that image trainings read."""

from __future__ import annotations

from pathlib import Path

import numpy
from PIL import Image

CLASSES = ("bird", "cat", "dog")


def picture(label: int, number: int, side: int = 40) -> Image.Image:
    """Noise with a bright square whose place tells the class."""
    generator = numpy.random.default_rng(1000 * label + number)
    values = generator.integers(0, 90, (side, side + 8, 3))
    values[8:32, 3 + 12 * label : 13 + 12 * label, label] = 250
    return Image.fromarray(values.astype(numpy.uint8))


def folders(place: Path, train: int = 6, held: int = 3) -> Path:
    """train/CLASS/*.jpg and val/CLASS/*.jpg; one grey picture and one with transparency."""
    for part, count in (("train", train), ("val", held)):
        for label, name in enumerate(CLASSES):
            folder = place / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                one = picture(label, number + (100 if part == "val" else 0))
                if number == 0 and label == 0:
                    one.convert("L").save(folder / f"{number}.jpg")
                elif number == 0 and label == 1:
                    one.convert("RGBA").save(folder / f"{number}.png")
                else:
                    one.save(folder / f"{number}.jpg", quality=95)
    return place


def parquet(place: Path, train: int = 6, held: int = 3) -> Path:
    """The same pictures as Parquet files, as hubs hold them."""
    import datasets

    place.mkdir(parents=True)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    for part, count in (("train", train), ("validation", held)):
        rows = [(label, number) for label in range(len(CLASSES)) for number in range(count)]
        shift = 100 if part == "validation" else 0
        content = {
            "image": [picture(label, number + shift) for label, number in rows],
            "label": [label for label, _ in rows],
        }
        made = datasets.Dataset.from_dict(content, features=features)
        made.to_parquet(str(place / f"{part}-00000.parquet"))
    return place
