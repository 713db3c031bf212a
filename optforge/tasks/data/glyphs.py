"""Characters beyond A to Z from matplotlib's fonts: many classes, split by typeface."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import torch

from optforge.tasks.data.cache import Arrays, cached, require, standardise
from optforge.tasks.data.letters import FACES, font_folder, glyph, variant
from optforge.tasks.splits import Data, Split

_LATIN = "".join(chr(code) for code in (*range(65, 91), *range(97, 123)))
_FEWEST_FACES = 8  # of the training split that must draw a character


def glyphs(
    side: int = 16, copies: tuple[int, int, int] = (3, 1, 1), classes: int | None = None
) -> Data:
    """Return characters of many scripts, one class each, randomly rotated, scaled and shifted.

    The letters A to Z, and characters that a typeface draws exactly like one of them, are left out.
    So a model trained here has seen neither the classes of ``letters`` nor the typefaces of its
    other splits. Characters that look exactly the same in a typeface form one class.

    Args:
        side: Pixels along one edge.
        copies: Number of variants of each character and typeface, for training, validation and
            test.
        classes: Number of classes, the first in the order of Unicode; None for all, about 600.

    Returns:
        Inputs float32 [N, side, side], standardised; targets int64 [N].

    Raises:
        TaskError: If matplotlib, Pillow or a face is missing.
    """
    versions = {name: require(name, name).__version__ for name in ("PIL", "matplotlib")}
    key = {"version": 1, "side": side, "copies": copies, "classes": classes, **versions}
    arrays = cached("glyphs", {**key, "faces": FACES}, lambda: _build(side, copies, classes))
    inputs = standardise(*(arrays[f"{part}_images"] / 255 for part in FACES))
    targets = (torch.from_numpy(arrays[f"{part}_labels"].astype(np.int64)) for part in FACES)
    return Data(*(Split(x, y) for x, y in zip(inputs, targets, strict=True)))


def characters() -> dict[str, int]:
    """Return the characters of all classes, with the class of each.

    Returns:
        Classes by character in the order of Unicode; characters that look the same share a class.
    """
    drawn = {part: [drawn_by(face) for face in faces] for part, faces in FACES.items()}
    counts = Counter(code for codes in drawn["train"] for code in codes)
    wanted = set.intersection(*drawn["validation"]) & set.union(*drawn["test"])
    looks: dict[bytes, int] = {}
    skipped = {glyph(FACES["train"][0], letter).tobytes() for letter in _LATIN}
    alike: dict[str, int] = {}
    for code in sorted(wanted):
        character = chr(code)
        if counts[code] < _FEWEST_FACES or unicodedata.category(character)[0] not in "LNSP":
            continue
        look = glyph(FACES["train"][0], character).tobytes()
        if look not in skipped:
            alike[character] = looks.setdefault(look, len(looks))
    return alike


def drawn_by(face: str) -> set[int]:
    """Return the code points for which a typeface has a glyph."""
    fonts: Any = require("matplotlib.ft2font", "matplotlib")
    return set(fonts.FT2Font(os.path.join(font_folder(), f"{face}.ttf")).get_charmap())


def _build(side: int, copies: tuple[int, int, int], classes: int | None) -> Arrays:
    generator = np.random.default_rng(0)
    chosen = {c: label for c, label in characters().items() if classes is None or label < classes}
    arrays: Arrays = {}
    for (part, faces), count in zip(FACES.items(), copies, strict=True):
        images, labels = [], []
        for face in faces:
            drawn = drawn_by(face)
            for character, label in chosen.items():
                if ord(character) in drawn:
                    image = glyph(face, character)
                    images += [variant(image, side, generator) for _ in range(count)]
                    labels += [label] * count
        order = generator.permutation(len(labels))
        arrays[f"{part}_images"] = np.stack(images)[order]
        arrays[f"{part}_labels"] = np.array(labels, np.int16)[order]
    return arrays
