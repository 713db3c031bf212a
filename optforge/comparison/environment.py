"""The environment of the figures: versions, threads, machine, and the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from optforge.training.devices import device_name

_DECIDING = ("torch", "optforge")
_CONTENT_KEYS = 2  # how code of one's own is known; the first way was its bytecode
_PACKAGES = ("numpy", "optuna", "timm", "pytorch_optimizer")


def environment(workers: int, threads: int = 1, device: str = "cpu") -> dict[str, Any]:
    """Return a description of this machine and its software.

    Args:
        workers: Number of processes that train at the same time.
        threads: Number of threads of each process.
        device: Device on which they train.

    Example:
        >>> sorted(environment(2))[:3]
        ['commit', 'content_keys', 'cores']
    """
    return {
        "commit": _commit(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "workers": workers,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device_name(device),
        "optforge": _version("optforge"),
        "content_keys": _CONTENT_KEYS,
        **{name: version for name in _PACKAGES if (version := _version(name))},
    }


def other_versions(sessions: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> str:
    """Return a warning if cells of a table were made with other versions of torch or optforge.

    Keys of cells do not cover all versions, so a pair may mix two of them.

    Args:
        sessions: Sessions of the table.
        now: Environment of this session.

    Returns:
        A sentence; empty if there is nothing to say.

    Example:
        >>> other_versions([{"torch": "2.7"}], {"torch": "2.8"})[:45]
        'Some cells are of torch 2.7, and this is 2.8:'
    """
    mixed = []
    for name in _DECIDING:
        known = dict.fromkeys(session[name] for session in sessions if session.get(name))
        others = [version for version in known if version != now.get(name)]
        if others:
            mixed.append(f"{name} {', '.join(others)}, and this is {now.get(name)}")
    if not mixed:
        return ""
    return (
        f"Some cells are of {'; of '.join(mixed)}: runs that are compared may be of both. Choose "
        "another --out to compute all anew"
    )


def older_keys(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence if cells of a table use older content keys for the user's own code.

    Args:
        sessions: Sessions of the table.

    Example:
        >>> older_keys([{"content_keys": 2}])
        ''
    """
    if all(session.get("content_keys") == _CONTENT_KEYS for session in sessions):
        return ""
    return (
        "Some cells were written by an earlier optforge, which knew tasks and optimizers of your "
        "own by other keys: their runs are not found and are trained again"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    """Return the commit of optforge's checkout, marked if files differ; empty if there is none."""
    here = Path(__file__).resolve().parent
    try:
        description = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return description.stdout.strip()
