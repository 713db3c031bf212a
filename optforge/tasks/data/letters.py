"""Letters A to Z drawn with the fonts of matplotlib, split by typeface."""

from __future__ import annotations

import os
import string
from typing import Any

import numpy as np
import torch

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays, cached, require, standardise
from optforge.tasks.splits import Data, Split

# Whole families stay together, so that a bold face in one split has no regular twin in another.
FACES: dict[str, tuple[str, ...]] = {
    "train": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        *("cmr10", "cmb10", "cmmi10"),
    ),
    "validation": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    "test": (
        *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
        *("DejaVuSansMono-BoldOblique", "cmtt10", "cmss10"),
    ),
}
_CANVAS = 64  # each glyph is drawn large, moved, and only then reduced


def letters(side: int = 16, copies: tuple[int, int, int] = (6, 5, 4)) -> Data:
    """Return upper and lower case letters in 26 classes, randomly rotated, scaled and shifted.

    Args:
        side: Pixels along one edge.
        copies: Number of variants of each letter and typeface, for training, validation and test.

    Returns:
        Inputs float32 [N, side, side], standardised; targets int64 [N], A = 0.

    Raises:
        TaskError: If matplotlib, Pillow or a face is missing.
    """
    pillow = require("PIL", "pillow")
    key = {"version": 1, "side": side, "copies": copies, "pillow": pillow.__version__}
    arrays = cached("letters", {**key, "faces": FACES}, lambda: _build(side, copies))
    inputs = standardise(*(arrays[f"{part}_images"] / 255 for part in FACES))
    targets = (torch.from_numpy(arrays[f"{part}_labels"].astype(np.int64)) for part in FACES)
    return Data(*(Split(x, y) for x, y in zip(inputs, targets, strict=True)))


def _build(side: int, copies: tuple[int, int, int]) -> Arrays:
    generator = np.random.default_rng(0)
    arrays: Arrays = {}
    for (part, faces), count in zip(FACES.items(), copies, strict=True):
        images, labels = [], []
        for face in faces:
            for character in string.ascii_letters:
                picture = glyph(face, character)
                images += [variant(picture, side, generator) for _ in range(count)]
                labels += [ord(character.upper()) - ord("A")] * count
        # Shuffled, so that the first examples are a fair sample of the split.
        order = generator.permutation(len(labels))
        arrays[f"{part}_images"] = np.stack(images)[order]
        arrays[f"{part}_labels"] = np.array(labels, np.uint8)[order]
    return arrays


def font_folder() -> str:
    """Return the directory of matplotlib's fonts."""
    return os.path.join(require("matplotlib", "matplotlib").get_data_path(), "fonts", "ttf")


def glyph(face: str, character: str) -> Any:
    """Draw a letter in white on black, with its ink in the middle of the canvas."""
    image = require("PIL.Image", "pillow").new("L", (_CANVAS, _CANVAS), 0)
    folder = font_folder()
    try:
        font = require("PIL.ImageFont", "pillow").truetype(os.path.join(folder, f"{face}.ttf"), 46)
    except OSError as error:
        raise TaskError(
            f"the typeface {face} is not among matplotlib's fonts in {folder} ({error}); "
            "install it anew with: pip install --force-reinstall matplotlib"
        ) from error
    left, top, right, bottom = font.getbbox(character)
    corner = ((_CANVAS - left - right) / 2, (_CANVAS - top - bottom) / 2)
    require("PIL.ImageDraw", "pillow").Draw(image).text(corner, character, fill=255, font=font)
    return image


def variant(glyph: Any, side: int, generator: np.random.Generator) -> np.ndarray:
    """Rotate by up to 12 degrees, scale by up to 15 percent, shift by up to 5 of 64 pixels."""
    image = require("PIL.Image", "pillow")
    angle, scale = generator.uniform(-0.21, 0.21), generator.uniform(0.85, 1.15)
    shift = generator.uniform(-5, 5, size=2)
    cosine, sine, middle = np.cos(angle) / scale, np.sin(angle) / scale, _CANVAS / 2
    # The map from a pixel of the result back to the glyph, about the middle of the canvas.
    x = middle - cosine * (middle + shift[0]) - sine * (middle + shift[1])
    y = middle + sine * (middle + shift[0]) - cosine * (middle + shift[1])
    coefficients = (cosine, sine, x, -sine, cosine, y)
    moved = glyph.transform(
        glyph.size, image.Transform.AFFINE, coefficients, image.Resampling.BILINEAR
    )
    return np.asarray(moved.resize((side, side), image.Resampling.BOX))
