"""One process, or several started by torchrun."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from optforge.errors import TrainingError


@dataclass(frozen=True)
class Processes:
    """This process among all.

    Args:
        rank: Its number.
        world: How many there are.
        device: Where it computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes."""
        if self.world > 1:
            distributed.all_reduce(value)
        return value

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the running statistics of the first, as its checkpoint has them."""
        if self.world > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until all are here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def processes(device: str | None = None) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be the only one.

    Args:
        device: ``cpu`` or ``cuda``; None takes what is there. With several processes each takes
            the device of its local rank; the backend is NCCL on GPUs and gloo elsewhere.

    Nothing may refer to the group of processes when the context ends: threads of gloo that outlive
    the interpreter abort the process.

    Raises:
        TrainingError: If the device is not there.

    Example:
        >>> with processes("cpu") as one:
        ...     print(one.rank, one.world, one.device)
        0 1 cpu
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    found = "cuda" if torch.cuda.is_available() else "cpu"
    place = _device(found if device is None else device)
    if place.type == "cuda" and world > 1:
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if world == 1:
        yield Processes(0, 1, place)
        return
    # Functions of this module keep as their default argument the group that exists when it is
    # imported, and DistributedDataParallel imports it.
    import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    among = Processes(rank, world, place)
    try:
        yield among
        gc.collect()  # a trainer in a cycle of references would keep the group alive
        among.wait()
    finally:
        distributed.destroy_process_group()


def _device(kind: str) -> torch.device:
    try:
        place = torch.device(kind)
    except RuntimeError:
        raise TrainingError(f"there is no device {kind!r}; use cpu or cuda") from None
    if place.type not in ("cpu", "cuda"):
        raise TrainingError(f"device {kind!r} cannot train here; use cpu or cuda")
    count = torch.cuda.device_count()
    if place.type == "cuda" and not count:
        raise TrainingError(f"device {kind!r} was asked for and there is no GPU; use cpu")
    if place.type == "cuda" and (place.index or 0) >= count:
        raise TrainingError(f"device {kind!r} was asked for; there are cuda:0 to cuda:{count - 1}")
    return place
