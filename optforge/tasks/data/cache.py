"""The cache of built data sets: arrays on disk, or in memory if the disk is not writable."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optforge.errors import TaskError
from optforge.files import replacing

Arrays = dict[str, np.ndarray]
_log = logging.getLogger(__name__)
_memory: dict[Path, Arrays] = {}


def directory() -> Path:
    """Return the directory of the cache: ``$OPTFORGE_CACHE``, or ``~/.cache/optforge``.

    Returns:
        The directory; it may not exist yet. For a user without a home, as in many containers, it is
        one that cannot be made: then memory serves.
    """
    chosen = os.environ.get("OPTFORGE_CACHE")
    path = Path(os.path.expanduser(chosen or os.path.join("~", ".cache", "optforge")))
    return Path(os.devnull) / "optforge" if path.parts[:1] == ("~",) else path


def cached(name: str, key: Mapping[str, Any], build: Callable[[], Arrays]) -> Arrays:
    """Return arrays from the cache, built if they are missing or unreadable.

    Args:
        name: Name of the data set, with which the file name begins.
        key: Everything that the arrays depend on, as plain values.
        build: Function that builds the arrays.

    Returns:
        Arrays by name.
    """
    digits = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]
    path = directory() / f"{name}-{digits}.npz"
    if path in _memory:
        return _memory[path]
    content = _read(path)
    if content is None:
        content = build()
        _write(path, content)
    return content


def require(module: str, package: str, extra: str = "") -> ModuleType:
    """Import a module that a task needs.

    Args:
        module: The module's name.
        package: The package to install if it is missing.
        extra: The extra of optforge that includes the package, if any.

    Returns:
        The module.

    Raises:
        TaskError: If it cannot be imported; the message names the package and the command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        command = f"'optforge[{extra}]'" if extra else package
        raise TaskError(
            f"this task needs the package {package!r}, which cannot be imported ({error}); "
            f"install it with: pip install {command}"
        ) from error


def standardise(train: np.ndarray, *others: np.ndarray) -> tuple[Tensor, ...]:
    """Shift and scale all parts by the training part's mean and deviation over all pixels.

    Both are rounded to three digits, so that every machine computes the same bytes.

    Args:
        train: Training part, of any shape.
        others: Other parts, which must not influence the scale.

    Returns:
        The parts as float32, the training part first.

    Example:
        >>> standardise(np.array([0.0, 2.0]), np.array([3.0]))
        (tensor([-1.,  1.]), tensor([2.]))
    """
    mean = round(float(train.mean(dtype=np.float64)), 3)
    deviation = round(float(train.std(dtype=np.float64)), 3)
    parts = ((part.astype(np.float64) - mean) / deviation for part in (train, *others))
    return tuple(torch.from_numpy(part.astype(np.float32)) for part in parts)


def _read(path: Path) -> Arrays | None:
    if not os.path.exists(path):
        return None
    try:
        # Opened here, because np.load leaves the file of a broken archive open.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # a damaged file fails in many ways, and all have one mend
        _log.warning("the cached data %s cannot be read (%s); it is built again", path, error)
        return None


def _write(path: Path, arrays: Arrays) -> None:
    """Store arrays on disk, or in memory if the directory is not writable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        _memory[path] = arrays
        _log.warning(
            "built data cannot be stored in %s (%s); it is kept in memory for this process. "
            "Set OPTFORGE_CACHE to a folder that can be written",
            path.parent,
            error,
        )
