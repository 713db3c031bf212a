"""Joining and leaving a Ray cluster; the connection belongs to the process, not to a pool."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import warnings
from typing import Any

from optforge.errors import SearchError

_PATIENCE = 10.0  # seconds for the first answer of a cluster
_joined = False  # whether optforge connected this process, and may disconnect it


def join_cluster(address: str) -> tuple[Any, bool]:
    """Join a cluster, or start one on this machine.

    Returns:
        The package ``ray``, and whether this call joined.

    Raises:
        SearchError: If Ray is missing or the cluster cannot be reached.
    """
    global _joined
    ray = _import_ray()
    if ray.is_initialized():
        return ray, False
    _check_answers(address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the coming default
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address == "auto":
                # Without an address Ray joins what RAY_ADDRESS names or runs here, or starts one.
                ray.init(include_dashboard=False, **quiet)
            else:
                ray.init(address=address, **quiet)
    except Exception as error:
        raise _not_reached(address, error) from error
    _joined = True
    return ray, True


def leave_cluster() -> None:
    """Leave the cluster that optforge joined, if it did; one that was started here ends."""
    global _joined
    if _joined:
        _joined = False
        importlib.import_module("ray").shutdown()


def cluster_room(address: str, gpus: bool = False) -> int:
    """Join a cluster and return its cores, or its GPUs; at least 1.

    Raises:
        SearchError: If Ray is missing or the cluster cannot be reached.
    """
    ray, _ = join_cluster(address)
    return max(1, room_of(ray, gpus))


def room_of(ray: Any, gpus: bool) -> int:
    """Return the cores of the cluster that this process has joined, or its GPUs."""
    return int(ray.cluster_resources().get("GPU" if gpus else "CPU", 0))


def first_line(error: Exception) -> str:
    """Return the first line of an error that says something."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise SearchError(f"the cluster is {address!r}; give HOST:PORT, ray://HOST:PORT or auto")
    try:
        address_of_host = host.removeprefix("[").removesuffix("]")  # IPv6 is written in brackets
        socket.create_connection((address_of_host, int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _not_reached(address, error) from error


def _not_reached(address: str, error: Exception) -> SearchError:
    return SearchError(
        f"the cluster {address!r} cannot be reached ({first_line(error)}); start one with "
        "'ray start --head' and give HOST:PORT, or give auto"
    )


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise SearchError(
            "a cluster needs the package 'ray', which cannot be imported "
            f"({error}); install it with: pip install 'optforge[cluster]'"
        ) from error
