"""Which pictures these are: a hash by which a training that is resumed tells others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_LOOKED_AT = 10_000  # files whose size is asked for; a million would take minutes on a network


def digest_of_files(folder: Path, paths: Sequence[str]) -> str:
    """Hash the names of all files below a folder, and the sizes of at most 10,000 of them.

    The folder itself may be moved, or copied to another machine.

    Args:
        folder: Where they lie.
        paths: The files, in an order that is always the same; classes are in their names.
    """
    every = -(-len(paths) // _LOOKED_AT)
    sizes = (str(os.path.getsize(path)) for path in paths[::every])
    start = len(str(folder))
    return _digest([*(path[start:] for path in paths), *sizes])


def digest_of_splits(splits: Iterable[Any], classes: Sequence[str]) -> str:
    """Hash what the package `datasets` knows of its splits: names, lengths and bytes.

    Args:
        splits: Splits of one data set.
        classes: Their names.
    """
    known = []
    for part in splits:
        info = (part.info.splits or {}).get(str(part.split))
        known.append(f"{part.split} {len(part)} {getattr(info, 'num_bytes', None)}")
    return _digest([*classes, *known])


def _digest(parts: Iterable[str]) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return made.hexdigest()[:16]
