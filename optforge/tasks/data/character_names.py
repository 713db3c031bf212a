"""Names of characters from Unicode 3.2, which every Python holds, with their general categories."""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter

import numpy as np
import torch

from optforge.tasks.data.cache import Arrays, cached
from optforge.tasks.splits import Data, Split

ALPHABET = " -0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # from 1; 0 fills up short names
_REGULAR = ("CJK", "HANGUL SYLLABLE")  # their names are numbers or sounds, by a rule
_UNICODE = unicodedata.ucd_3_2_0  # frozen, so that the data are the same on every machine
PARTS = ("train", "validation", "test")


def character_names(sizes: tuple[int, int, int], length: int, classes: int) -> Data:
    """Return names such as "GREEK SMALL LETTER ALPHA" with categories such as lower-case letter.

    Args:
        sizes: Number of names for training, validation and test.
        length: Number of characters to which names are cut or filled up.
        classes: Number of categories; the last one stands for all rare ones.

    Returns:
        Inputs int64 ``[N, length]``, 0 to ``len(ALPHABET)``; targets int64 ``[N]``.
    """
    key = {"version": 1, "sizes": sizes, "length": length, "classes": classes}
    arrays = cached("character_names", key, lambda: _build(sizes, length, classes))
    parts = ((arrays[f"{part}_names"], arrays[f"{part}_labels"]) for part in PARTS)
    return Data(*(Split(_whole(names), _whole(labels)) for names, labels in parts))


def _build(sizes: tuple[int, int, int], length: int, classes: int) -> Arrays:
    named = _named(length)
    counts = Counter(category for _, category in named)
    frequent = sorted(counts, key=lambda category: (-counts[category], category))[: classes - 1]
    order = np.random.default_rng(0).permutation(len(named))
    arrays, first = {}, 0
    for part, size in zip(PARTS, sizes, strict=True):
        chosen = [named[number] for number in order[first : first + size]]
        arrays[f"{part}_names"] = np.stack([_encoded(name, length) for name, _ in chosen])
        labels = [frequent.index(c) if c in frequent else classes - 1 for _, c in chosen]
        arrays[f"{part}_labels"] = np.array(labels, np.uint8)
        first += size
    return arrays


def _named(length: int) -> list[tuple[str, str]]:
    """Return distinct names, cut to a length, and categories, of the first that has each name."""
    named: dict[str, str] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        name = _UNICODE.name(character, "")
        if name and not name.startswith(_REGULAR):
            named.setdefault(name[:length], _UNICODE.category(character))
    return list(named.items())


def _encoded(name: str, length: int) -> np.ndarray:
    digits = [1 + ALPHABET.index(character) for character in name]
    return np.array(digits + [0] * (length - len(digits)), np.uint8)


def _whole(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))
