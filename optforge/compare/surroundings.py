"""What figures were made with: versions, threads, machine, and the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("numpy", "optuna", "timm", "pytorch_optimizer")


def surroundings(workers: int, threads: int = 1) -> dict[str, Any]:
    """Describe this machine and its software.

    Args:
        workers: Processes that train at the same time.
        threads: Of each.

    Example:
        >>> sorted(surroundings(2))[:3]
        ['commit', 'cores', 'device']
    """
    return {
        "commit": _commit(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "workers": workers,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        "optforge": _version("optforge"),
        **{name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit of optforge's own checkout, with a mark if files differ from it; or nothing."""
    here = Path(__file__).resolve().parent
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()
