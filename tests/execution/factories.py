"""What the tests of the executors let workers do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any


def answers() -> Callable[[Any], Any]:
    """A function that does what its job says, good or bad."""
    return answer


def answer(job: tuple[str, Any]) -> Any:
    word, value = job
    return ACTIONS[word](value)


def _signal(number: int) -> None:
    os.kill(os.getpid(), number)


def _touch_then_sleep(argument: tuple[str, float]) -> None:
    path, seconds = argument
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(seconds)


def _numbers(seed: int) -> list[float]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(300, 300, generator=generator)
    return (values @ values).sum(0).tolist()


ACTIONS: dict[str, Callable[[Any], Any]] = {
    "print": lambda text: print(text, flush=True),
    "double": lambda value: 2 * value,
    "sleep": time.sleep,
    "signal": _signal,
    "exit": os._exit,
    "sys.exit": sys.exit,
    "divide": lambda value: 1 / value,
    "unpicklable": lambda value: lambda: value,
    "large": lambda size: bytes(size),
    "pid": lambda _: os.getpid(),
    "environment": os.environ.get,
    "interrupt": lambda _: signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    "touch": _touch_then_sleep,
    "numbers": _numbers,
}


def broken() -> Callable[[Any], Any]:
    raise ValueError("the data set is missing")


def dying() -> Callable[[Any], Any]:
    os._exit(7)


def slow() -> Callable[[Any], Any]:
    time.sleep(1.5)
    return answer


def endless() -> Callable[[Any], Any]:
    time.sleep(600)
    return answer


def leaving() -> Callable[[Any], Any]:
    """A factory that ends its process."""
    sys.exit(3)
