"""Questions about pieces of Python source: small classification tasks, split by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch

from optforge.tasks.data.cache import Arrays, cached, require
from optforge.tasks.data.characters import PARTS
from optforge.tasks.data.pieces import corpus_tokenizer
from optforge.tasks.data.python_source import file_names, library_folder, part_of, provenance
from optforge.tasks.splits import Data, Split

PACKAGES = 6  # classes of the question `package`
Windows = Mapping[str, np.ndarray]  # of each file [N, length], in the order of its text
Chance = np.random.Generator


def python_questions(
    question: str, sizes: Sequence[int], length: int, vocabulary: int, sequences: Sequence[int]
) -> Data:
    """Return windows of source with an answer each; no file is in two parts.

    Args:
        question: One of :data:`QUESTIONS`.
        sizes: Examples for training, validation and test.
        length: Pieces of a window, an even number.
        vocabulary: Number of different pieces.
        sequences: Those of the language task whose vocabulary it is.

    Returns:
        Inputs int64 [N, length]; targets int64 [N].

    Raises:
        TaskError: If the package ``tokenizers`` or the source is missing.
    """
    key = {
        "version": 1, "question": question, "sizes": list(sizes), "length": length,
        "vocabulary": vocabulary, "sequences": list(sequences), **provenance(),
        "tokenizers": require("tokenizers", "tokenizers", "language").__version__,
    }  # fmt: skip

    def build() -> Arrays:
        return _build(question, sizes, _windows(length, vocabulary, tuple(sequences)))

    arrays = cached("python_questions", key, build)
    parts = ((arrays[f"{part}_pieces"], arrays[f"{part}_answers"]) for part in PARTS)
    return Data(*(Split(_whole(pieces), _whole(answers)) for pieces, answers in parts))


def _whole(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))


@lru_cache(1)  # four questions are asked of the same windows
def _windows(
    length: int, vocabulary: int, sequences: tuple[int, ...]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the windows of the files of each part."""
    tokenizer = corpus_tokenizer("python", sequences, length, vocabulary)
    parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
    for name in file_names():
        text = (library_folder() / name).read_text(encoding="utf-8", errors="replace")
        ids = tokenizer.encode(text).ids
        count = len(ids) // length
        if count:
            cut = np.array(ids[: count * length], np.uint16).reshape(count, length)
            parts[part_of(name)][name] = cut
    return parts


def _build(
    question: str, sizes: Sequence[int], parts: Mapping[str, Mapping[str, np.ndarray]]
) -> Arrays:
    chance, arrays, ask = np.random.default_rng(0), {}, QUESTIONS[question]
    packages = _packages(parts)
    for part, size in zip(PARTS, sizes, strict=True):
        pieces, answers = ask(parts[part], size, chance, packages)
        order = chance.permutation(size)
        arrays[f"{part}_pieces"] = pieces[order]
        arrays[f"{part}_answers"] = answers[order]
    return arrays


def _packages(parts: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """Return the packages with the most windows in the part that has fewest of them."""
    counts = [Counter[str]() for _ in parts]
    for count, files in zip(counts, parts.values(), strict=True):
        for name, windows in files.items():
            if "/" in name:
                count[name.split("/")[0]] += len(windows)
    least = {name: min(count[name] for count in counts) for name in counts[0]}
    return sorted(least, key=lambda name: (-least[name], name))[:PACKAGES]


def _package(
    files: Windows, size: int, chance: Chance, packages: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return windows and the package that each is from; all packages are as frequent."""
    answers = np.arange(size) % len(packages)
    windows = [
        np.concatenate([w for name, w in files.items() if name.split("/")[0] == package])
        for package in packages
    ]
    return np.stack([windows[a][chance.integers(len(windows[a]))] for a in answers]), answers


def _coherent(
    files: Windows, size: int, chance: Chance, packages: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return windows and whether their halves follow each other, or are from two files."""
    del packages
    first, second = (_drawn(files, size, chance) for _ in range(2))
    answers, half = np.arange(size) % 2, first.shape[1] // 2
    first[answers == 0, half:] = second[answers == 0, half:]
    return first, answers


def _order(
    files: Windows, size: int, chance: Chance, packages: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return windows and whether their halves are in order."""
    del packages
    pieces, answers = _drawn(files, size, chance), np.arange(size) % 2
    pieces[answers == 0] = np.roll(pieces[answers == 0], pieces.shape[1] // 2, 1)
    return pieces, answers


def _place(
    files: Windows, size: int, chance: Chance, packages: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return windows and whether each is from the first third of its file, or from the last."""
    del packages
    answers, long = np.arange(size) % 2, [w for w in files.values() if len(w) >= 6]
    rows = []
    for answer in answers:
        windows = long[chance.integers(len(long))]
        third = len(windows) // 3
        start = len(windows) - third if answer else 0
        rows.append(windows[start + chance.integers(third)])
    return np.stack(rows), answers


def _drawn(files: Windows, size: int, chance: Chance) -> np.ndarray:
    every = np.concatenate(list(files.values()))
    return every[chance.integers(len(every), size=size)].copy()


Ask = Callable[[Windows, int, Chance, Sequence[str]], tuple[np.ndarray, np.ndarray]]
QUESTIONS: Mapping[str, Ask] = {
    "package": _package,
    "coherent": _coherent,
    "order": _order,
    "place": _place,
}
