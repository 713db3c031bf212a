"""The machine, memory of processes, and what the repeats of a measurement say."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from optforge.training import has_compiler


@dataclass(frozen=True)
class Spread:
    """Repeats of one figure: the median counts, the extremes tell how far to trust it."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def range(self) -> list[float]:
        return [min(self.values), max(self.values)]


def spread(values: Sequence[float]) -> Spread:
    return Spread(tuple(values))


def machine(workers: int) -> dict[str, Any]:
    """What a figure depends on; the load says whether others computed meanwhile."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "workers": workers,
        "threads_a_worker": 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "numpy": numpy.__version__,
        "compiler": has_compiler(),
        "load_before": load(),
    }


def load() -> float:
    """Mean number of running processes over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else float("nan")


def resident_mb(pid: int | str = "self", largest: bool = False) -> float:
    """Memory of a process in MB, now or at its largest; NaN where it cannot be read."""
    field = "VmHWM:" if largest else "VmRSS:"
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _own_largest_mb() if pid == "self" else float("nan")
    for line in lines.splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def _own_largest_mb() -> float:
    """Where there is no /proc, the largest so far stands for the memory of now."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
