"""Memory and threads of a process that trains many small models."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # names of glibc's mallopt
_DEFAULT_SIZE = 128 * 1024  # of all three, where the environment says nothing
_DEFAULTS = {
    _TRIM_THRESHOLD: "MALLOC_TRIM_THRESHOLD_",
    _TOP_PAD: "MALLOC_TOP_PAD_",
    _MMAP_THRESHOLD: "MALLOC_MMAP_THRESHOLD_",
}
_keeping: list[bool] = []  # whether this process was asked to
_loaded_in = os.getpid()


def keep_freed_memory() -> bool:
    """Make glibc's allocator reuse large blocks instead of returning them to the system.

    Activations of a batch of models are a few megabytes each and live for microseconds. By default
    each of them is mapped, faulted in page by page and unmapped again.

    Returns:
        Whether the allocator accepted the settings; without glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    _keeping.append(True)
    settings = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 1 << 26))
    return all([mallopt(name, value) == 1 for name, value in settings])


def return_freed_memory() -> None:
    """Undo :func:`keep_freed_memory` in a process that does not belong to optforge."""
    if not _keeping:
        return
    _keeping.clear()
    library = ctypes.CDLL("libc.so.6")
    for name, variable in _DEFAULTS.items():
        library.mallopt(name, int(os.environ.get(variable) or _DEFAULT_SIZE))
    library.malloc_trim(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread inside the block: small products are slower with more.

    The order of sums, and so their last digits, also depends on the number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_forked() -> bool:
    """Return whether this may be a forked process, in which torch must use one thread.

    Once a parent has used several threads, they are missing in its forked children, and there the
    first parallel operation waits forever. Children that were spawned count as well; usually there
    is one per core.
    """
    return os.getpid() != _loaded_in or multiprocessing.parent_process() is not None
