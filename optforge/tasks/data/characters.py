"""Text as windows of characters for next-character prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays
from optforge.tasks.splits import Data, Split

PARTS = ("train", "validation", "test")
Window = TypeVar("Window", str, tuple[int, ...])


def character_windows(
    texts: Mapping[str, Sequence[str]], sizes: Mapping[str, int], length: int, characters: int
) -> Arrays:
    """Cut texts into windows of characters, each window in one split only.

    Args:
        texts: Texts of each of ``PARTS``; a window lies within one text.
        sizes: Number of windows of each part.
        length: Number of characters that a model sees; a window has one more, the last target.
        characters: Size of the vocabulary: the most frequent characters of the training texts, plus
            a last entry for all others.

    Returns:
        ``vocabulary``, and for each part uint8 ``[windows, length + 1]``.

    Raises:
        TaskError: If a part has too little text.

    Example:
        >>> texts = {"train": ["abab"], "validation": ["bbaa"], "test": ["aabb"]}
        >>> arrays = character_windows(texts, dict.fromkeys(PARTS, 1), 3, 2)
        >>> arrays["vocabulary"].tolist(), arrays["train"].tolist()
        (['a'], [[0, 1, 0, 1]])
    """
    counts = Counter("".join(texts["train"]))
    # Ties by the character itself, so that the order never depends on the run.
    kept = sorted(counts, key=lambda character: (-counts[character], character))[: characters - 1]
    index = {character: number for number, character in enumerate(kept)}
    taken: set[str] = set()
    arrays: Arrays = {"vocabulary": np.array(kept)}
    for part, size in sizes.items():
        windows = draw_windows(texts[part], size, length + 1, taken)
        arrays[part] = np.array([[index.get(c, len(kept)) for c in w] for w in windows], np.uint8)
    return arrays


def character_splits(arrays: Arrays) -> Data:
    """Return windows as data: inputs int64 ``[N, length]``, targets one character later."""
    parts = (torch.from_numpy(arrays[part].astype(np.int64)) for part in PARTS)
    return Data(*(Split(part[:, :-1].contiguous(), part[:, 1:].contiguous()) for part in parts))


def draw_windows(
    texts: Sequence[Window], size: int, length: int, taken: set[Window]
) -> list[Window]:
    """Draw random windows without repetition, none of which is in an earlier split.

    Args:
        texts: Texts, as characters or as tuples of tokens.
        size: Number of windows.
        length: Characters or tokens of a window; only its last one is not seen by a model.
        taken: What models see of the windows that are taken; the new ones are added.

    Raises:
        TaskError: If there is too little text.
    """
    cut = [text[i : i + length] for text in texts for i in range(0, len(text) - length + 1, length)]
    windows = []
    for number in np.random.default_rng(0).permutation(len(cut)):
        if len(windows) == size:
            break
        inputs = cut[number][:-1]  # the last one is only ever predicted
        if inputs not in taken:
            taken.add(inputs)
            windows.append(cut[number])
    if len(windows) < size:
        raise TaskError(
            f"the text yields {len(windows)} sequences of {length} characters or tokens for one "
            f"split, {size} were asked for; ask for fewer"
        )
    return windows
