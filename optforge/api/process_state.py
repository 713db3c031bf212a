"""Global state of the caller's process, restored after use."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy
import optuna
import torch

from optforge.execution import leave_cluster
from optforge.files import working_directory
from optforge.training import is_forked, return_freed_memory

_LOGGERS = ("torch.utils.cpp_extension", "optuna")


@contextmanager
def preserved_process() -> Iterator[None]:
    """Restore at the end of the block all global state that may have been changed in it.

    This covers threads and default dtype of torch, the random states of torch, NumPy and Python,
    the verbosity of Optuna, levels of loggers, ``sys.path``, the working directory, and how glibc
    keeps freed memory; a joined cluster is left. It also works as a decorator. A forked process
    uses one thread in the block.

    Raises:
        OptforgeError: If the working directory no longer exists.

    Example:
        >>> with preserved_process():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.get_default_dtype()
        torch.float32
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    states = torch.get_rng_state(), numpy.random.get_state(), random.getstate()
    verbosity, errors = optuna.logging.get_verbosity(), numpy.geterr()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    folder, path = working_directory(), [*sys.path]
    if is_forked():
        torch.set_num_threads(1)
    try:
        yield
    finally:
        leave_cluster()
        return_freed_memory()
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_rng_state(states[0])
        numpy.random.set_state(states[1])
        random.setstate(states[2])
        optuna.logging.set_verbosity(verbosity)
        numpy.seterr(**errors)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        sys.path[:] = path
        with suppress(OSError):  # it may be gone by now
            os.chdir(folder)
