"""Python source text, character by character, from the standard library of this machine."""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
from functools import cache
from pathlib import Path

from optforge.errors import TaskError
from optforge.tasks.data.cache import Arrays, cached
from optforge.tasks.data.characters import PARTS, character_splits, character_windows
from optforge.tasks.splits import Data

# Folders without ordinary source (tables, tests, demonstrations) or not of the library itself.
_EXCLUDED = {"test", "tests", "idle_test", "idlelib", "turtledemo", "lib2to3", "ensurepip"}
_EXCLUDED |= {"site-packages", "dist-packages", "__pycache__", "encodings", "pydoc_data"}
# Files that distributors write, other on every machine.
_GENERATED = ("_sysconfigdata", "sitecustomize", "usercustomize")


def python_source(
    train: int = 4096, evaluation: int = 128, length: int = 32, characters: int = 64
) -> Data:
    """Return next-character prediction on this library's text, split by file.

    Args:
        train: Number of training sequences.
        evaluation: Number of sequences of the validation split and of the test split.
        length: Number of characters in a sequence.
        characters: Size of the vocabulary: the most frequent characters of the training files, plus
            a last entry for all others.

    Returns:
        Inputs and targets int64 [N, length]; the targets are the inputs one character later.

    Raises:
        TaskError: If this Python has no standard library in source form, or too little of it.

    Example:
        >>> data = python_source(train=8, evaluation=4)
        >>> bool((data.train.inputs[:, 1:] == data.train.targets[:, :-1]).all())
        True
    """
    sizes = (train, evaluation, evaluation)
    key = {"version": 1, "sizes": sizes, "length": length, "characters": characters, **provenance()}
    arrays = cached("python_source", key, lambda: _build(sizes, length, characters))
    return character_splits(arrays)


@cache
def provenance() -> dict[str, str]:
    """Return where the text comes from.

    Returns:
        ``python``, the version, and ``files``, a hash over the sorted paths and sizes.
    """
    root = library_folder()
    listing = "\n".join(f"{name} {os.path.getsize(root / name)}" for name in file_names())
    digest = hashlib.sha256(listing.encode()).hexdigest()[:16]
    return {"python": platform.python_version(), "files": digest}


@cache
def file_names() -> tuple[str, ...]:
    """Return the sorted paths, relative to the library, of the files in the corpus.

    Returns:
        Paths with forward slashes.

    Raises:
        TaskError: If there are none.
    """
    root = library_folder()
    names = sorted(
        path.relative_to(root).as_posix() for path in root.rglob("*.py") if _wanted(path, root)
    )
    if not names:
        raise TaskError(
            f"no Python source below {root}; the language tasks need a Python whose standard "
            "library is installed as .py files"
        )
    return tuple(names)


def part_of(name: str) -> str:
    """Return the split of a file, given its path: 80, 10 and 10 percent.

    Args:
        name: A path from ``file_names``.

    Returns:
        One of ``PARTS``.

    Example:
        >>> part_of("json/decoder.py") in PARTS
        True
    """
    draw = hashlib.sha256(name.encode()).digest()[0]
    return PARTS[0] if draw < 205 else PARTS[1] if draw < 230 else PARTS[2]


def library_folder() -> Path:
    """Return the folder of the standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def _wanted(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return not _EXCLUDED.intersection(parts) and not parts[-1].startswith(_GENERATED)


def source_texts() -> dict[str, list[str]]:
    """Return the files of each split, in the order of their paths."""
    texts: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in file_names():
        text = (library_folder() / name).read_text(encoding="utf-8", errors="replace")
        texts[part_of(name)].append(text)
    return texts


def _build(sizes: tuple[int, int, int], length: int, characters: int) -> Arrays:
    parts: dict[str, int] = dict(zip(PARTS, sizes, strict=True))
    return character_windows(source_texts(), parts, length, characters)
