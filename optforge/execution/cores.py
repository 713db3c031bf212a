"""How many processes this process may start, and whether it may start any."""

from __future__ import annotations

import math
import multiprocessing
import os
from pathlib import Path

from optforge.errors import OptforgeError, SearchError, whole_number

_CGROUP, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may use by its affinity and cgroup, at least 1.

    A container, a job of Slurm or ``taskset`` often allows fewer than the machine has.

    Example:
        >>> 1 <= usable_cores() <= os.cpu_count()
        True
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas(_CGROUP)]))


def _quotas(root: Path, membership: Path = _MEMBERSHIP) -> list[int]:
    """Return the limits of cgroups, versions 2 and 1, in whole cores."""
    quotas = []
    for folder in _folders(root, membership):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
        except (OSError, ValueError):
            try:
                quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            except OSError:
                continue
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            quotas.append(max(1, math.floor(int(quota) / int(period))))
    return quotas


def _folders(root: Path, membership: Path) -> list[Path]:
    """Return the folders of this process's cgroup and of those above it."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    folders = {root, root / "cpu"}
    for line in lines:
        inside = Path(line.split(":", 2)[-1].lstrip("/"))  # a path may hold colons
        for base in (root, root / "cpu"):
            folders |= {base / part for part in (inside, *inside.parents)}
    return sorted(folders)


def worker_count(workers: object, wrong: type[OptforgeError] = SearchError) -> int:
    """Return the number of worker processes: one per usable core by default.

    Args:
        workers: The requested number; None for the default, 0 to run in this process. A daemonic
            process, which may have no children, gets 0 by default.
        wrong: Class of the error to raise.

    Raises:
        OptforgeError: If it is not a number of at least 0, or this process may have no children.

    Example:
        >>> worker_count(3), worker_count(0)
        (3, 0)
    """
    is_daemonic = multiprocessing.current_process().daemon
    if workers is None:
        return 0 if is_daemonic else usable_cores()
    count = whole_number("workers", workers, 0, wrong)
    if count and is_daemonic:
        raise wrong(
            f"workers is {count}, but this process is daemonic, as those of multiprocessing.Pool "
            "are, and may start no processes; give workers=0 to train in this one"
        )
    return count
