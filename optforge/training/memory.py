"""Memory and threads of a process that trains many small models."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # names of glibc's mallopt


def keep_freed_memory() -> bool:
    """Ask glibc's allocator to reuse large blocks instead of returning them to the system.

    Activations of a batch of models are a few megabytes each and live for microseconds; by
    default each of them is mapped, faulted in page by page and unmapped again.

    Returns:
        Whether the allocator took the settings; elsewhere than on glibc nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 1 << 26))
    return all([mallopt(name, value) == 1 for name, value in settings])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block: small products are slower with more.

    The order of sums, and so the last digits, hangs on the number of threads too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
