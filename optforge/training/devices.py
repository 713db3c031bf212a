"""The device on which models are trained, if this machine has it."""

from __future__ import annotations

import platform

import torch

from optforge.errors import OptforgeError


def checked_device(device: str, wrong: type[OptforgeError] = OptforgeError) -> str:
    """Return the device if this machine can train on it.

    Args:
        device: Name of a torch device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        wrong: Class of the error.

    Raises:
        OptforgeError: If torch knows no such device or the machine has none.

    Example:
        >>> checked_device("cpu")
        'cpu'
    """
    try:
        place = torch.device(device) if isinstance(device, str) else None
    except RuntimeError:
        place = None
    if place is None or place.type == "meta":
        raise wrong(f"there is no device {device!r}; use cpu, cuda or cuda:1, or mps")
    if place.type != "cpu" and not _is_there(place):
        here = torch.cuda.device_count()
        raise wrong(
            f"device {device!r} was asked for and this machine does not have it "
            f"(GPUs that torch sees here: {here}); use cpu"
        )
    return device


def is_gpu(device: str) -> bool:
    """Return whether a device is a CUDA device.

    Example:
        >>> is_gpu("cuda:1"), is_gpu("cpu")
        (True, False)
    """
    return torch.device(device).type == "cuda"


def device_name(device: str) -> str:
    """Return the name of a device for reports: the model of a GPU, otherwise the device type.

    Example:
        >>> device_name("cpu")
        'cpu'
    """
    place = torch.device(device)
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return place.type if place.type == "cpu" else f"{place.type} of {platform.machine()}"


def wait_for(device: str) -> None:
    """Wait until a GPU has finished its work, so that timings are correct."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _is_there(place: torch.device) -> bool:
    if place.type == "cuda":
        return (place.index or 0) < torch.cuda.device_count()
    try:
        return torch.ones(1, device=place).item() == 1
    except Exception:  # each kind of device has errors of its own
        return False
