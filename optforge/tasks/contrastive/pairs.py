"""Images of characters with their Unicode names, split so that test names are new compositions."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from optforge.tasks.data.cache import Arrays, cached, require
from optforge.tasks.data.characters import PARTS
from optforge.tasks.data.glyphs import characters, drawn_by
from optforge.tasks.data.letters import FACES, glyph, variant

WORDS = 10  # of a name, at most
_NEW = 0.15  # share of the names for validation, and for test
_KNOWN = 2  # training names in which every word of a new name occurs


def pairs(side: int, copies: Sequence[int]) -> Arrays:
    """Return pairs of an image and a name, no typeface and no name in two splits.

    Every word of a name for validation or test is in at least two training names.

    Args:
        side: Pixels along one edge.
        copies: Variants of each character and typeface, for training, validation and test.

    Returns:
        For each part ``_images`` uint8 [N, side, side], ``_names`` int16 [N, 10], the numbers of
        the words from 1 on and 0 after the last, and ``_labels`` int16 [N], one number a name;
        ``words``, which are in the order of their numbers.

    Raises:
        TaskError: If matplotlib, Pillow or a face is missing.
    """
    versions = {name: require(name, name).__version__ for name in ("PIL", "matplotlib")}
    key = {"version": 1, "side": side, "copies": list(copies), **versions}
    key |= {"unicode": unicodedata.unidata_version}  # which characters have a name
    return cached("named_glyphs", {**key, "faces": FACES}, lambda: _build(side, copies))


def split_names(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the characters of each split, given their names.

    Example:
        >>> split = split_names({"a": "SMALL A", "A": "CAPITAL A", "b": "SMALL B"})
        >>> sorted(split["train"])
        ['A', 'a', 'b']
    """
    counts = Counter(word for name in names.values() for word in set(name.split()))
    most, parts = round(_NEW * len(names)), {part: list[str]() for part in PARTS}
    for character in sorted(names, key=lambda c: hashlib.sha256(names[c].encode()).digest()):
        words = set(names[character].split())
        part = min(PARTS[1:], key=lambda part: len(parts[part]))
        is_known = all(counts[word] > _KNOWN for word in words)
        if not is_known or len(parts[part]) >= most:
            part = "train"
        else:
            counts.subtract(words)
        parts[part].append(character)
    return {part: tuple(members) for part, members in parts.items()}


def _build(side: int, copies: Sequence[int]) -> Arrays:
    names = _names()
    chosen = split_names(names)
    words = sorted({word for name in names.values() for word in name.split()})
    numbers = {word: number for number, word in enumerate(words, 1)}
    generator = np.random.default_rng(0)
    arrays: Arrays = {"words": np.array(words)}
    for part, count in zip(PARTS, copies, strict=True):
        images, tokens, labels = [], [], []
        for face in FACES[part]:
            drawn = drawn_by(face)
            for character in chosen[part]:
                if ord(character) not in drawn:
                    continue
                picture = glyph(face, character)
                images += [variant(picture, side, generator) for _ in range(count)]
                name = [numbers[word] for word in names[character].split()]
                tokens += [name + [0] * (WORDS - len(name))] * count
                labels += [ord(character)] * count
        order = generator.permutation(len(labels))
        arrays[f"{part}_images"] = np.stack(images)[order]
        arrays[f"{part}_names"] = np.array(tokens, np.int16)[order]
        arrays[f"{part}_labels"] = np.array(labels, np.int32)[order]
    return arrays


def _names() -> dict[str, str]:
    """Return the names of characters that do not look the same, in words."""
    first: dict[int, str] = {}
    for character, label in characters().items():
        first.setdefault(label, character)
    names = {c: unicodedata.name(c, "").replace("-", " ") for c in first.values()}
    return {c: name for c, name in names.items() if 0 < len(name.split()) <= WORDS}
