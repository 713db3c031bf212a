"""Global state of the caller's process, restored after use."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy
import optuna
import torch

from optforge.execution import leave_cluster
from optforge.runs.guard import working_directory
from optforge.training import is_forked, return_freed_memory

_LOGGERS = ("torch.utils.cpp_extension", "optuna", "ray")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ray handles the second


@contextmanager
def preserved_process() -> Iterator[None]:
    """Restore at the end of the block all global state that may have been changed in it.

    This covers threads, default dtype and device of torch, its precision of products and whether it
    is deterministic, the random states of torch (GPUs included),
    NumPy and Python, the verbosity of Optuna, levels of loggers, filters of warnings, handlers of
    signals, ``sys.path``, the environment, the working directory, the limit of recursion, how
    processes start, and how glibc keeps freed memory; a joined cluster is left, and the thread of
    tqdm, which the compiler uses, ends. It also works as a decorator. In the block gradients are
    computed, and a forked process uses one thread.

    Raises:
        OptforgeError: If the working directory no longer exists.

    Example:
        >>> with preserved_process():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.get_default_dtype()
        torch.float32
    """
    verbosity, errors = optuna.logging.get_verbosity(), numpy.geterr()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    folder, path, environment = working_directory(), [*sys.path], dict(os.environ)
    try:
        with (
            warnings.catch_warnings(),
            _torch_settings(),
            _random_states(),
            _signal_handlers(),
            _interpreter(),
            torch.inference_mode(False),  # where the caller computes without gradients
            torch.enable_grad(),
        ):
            yield
    finally:
        leave_cluster()
        return_freed_memory()
        optuna.logging.set_verbosity(verbosity)
        numpy.seterr(**errors)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        sys.path[:] = path
        _restore_environment(environment)
        with suppress(OSError):  # it may be gone by now
            os.chdir(folder)


@contextmanager
def _torch_settings() -> Iterator[None]:
    """Restore the settings of torch that hold for all that a process computes."""
    threads, dtype, device = torch.get_num_threads(), torch.get_default_dtype(), _default_device()
    precision = torch.get_float32_matmul_precision()
    is_exact = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    if is_forked():
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if _default_device() != device:
            torch.set_default_device(device)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(is_exact, warn_only=only_warns)


def _default_device() -> torch.device | None:
    """Return the default device; None for the CPU, which costs nothing if it is not named."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


def _restore_environment(before: Mapping[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({k: v for k, v in before.items() if os.environ.get(k) != v})


@contextmanager
def _interpreter() -> Iterator[None]:
    """Restore what the compiler of torch, which is imported late, changes of Python itself."""
    limit, method = sys.getrecursionlimit(), multiprocessing.get_start_method(allow_none=True)
    was_monitored = _monitor() is not None
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        if multiprocessing.get_start_method(allow_none=True) != method:  # asking decides it
            multiprocessing.set_start_method(method, force=True)
        if not was_monitored and (monitor := _monitor()) is not None:
            monitor.exit()
            sys.modules["tqdm"].tqdm.monitor = None


def _monitor() -> Any:
    """Return the thread in which tqdm looks after its bars; None if there is none."""
    return getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "monitor", None)


@contextmanager
def _random_states() -> Iterator[None]:
    """Restore the random states; that of a GPU only if it was in use before."""
    states = torch.get_rng_state(), numpy.random.get_state(), random.getstate()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        numpy.random.set_state(states[1])
        random.setstate(states[2])
        torch.cuda.set_rng_state_all(gpus)


@contextmanager
def _signal_handlers() -> Iterator[None]:
    """Restore the handlers of signals, which only the main thread may set."""
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS if is_main}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # one that Python did not set cannot be set again
                signal.signal(number, handler)
