"""Whether `torch.compile` works here: what it cannot compile runs as foreach, and one warning."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any


def find_compiler() -> bool:
    """Return whether there is a C++ compiler."""
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    return any(name and shutil.which(name) for name in names)


@cache
def has_compiler() -> bool:
    """Return whether compiled steps can run on the CPU; warn once if they cannot."""
    if find_compiler():
        return True
    warnings.warn(
        "fused=True, but no C++ compiler was found (g++, clang++ or $CXX): foreach runs in its "
        "place. Install one, or leave fused=None",
        stacklevel=6,
    )
    return False


_failed: set[Hashable] = set()
_working: set[Hashable] = set()


def compiles(make: Callable[..., Any], *arguments: Hashable) -> bool:
    """Return whether something can be compiled; what failed once is not tried again.

    A compiler that is found may still fail: a wrong ``$CXX``, no headers, a full disk. Then a step
    must go on without it, as where there is none.

    Args:
        make: Compiles on made-up parameters, and keeps what it compiled.
        arguments: For it.

    Example:
        >>> compiles(int, "1")
        True
    """
    key = make, arguments
    if key in _working or key in _failed:
        return key in _working
    try:
        with warnings.catch_warnings():
            # Only a remark on speed: each is converted to float32 by itself.
            warnings.filterwarnings("ignore", "bf16 and fp16 are mixed")
            make(*arguments)
    except Exception as error:  # whatever the compiler ran into
        _failed.add(key)
        _tell(error)
        return False
    _working.add(key)
    return True


def _tell(error: Exception) -> None:
    text = f"{type(error).__name__}: {error}".strip().splitlines()
    _tell_once(text[0][:300])


_told: list[str] = []


def _tell_once(reason: str) -> None:
    if _told:
        return
    _told.append(reason)
    warnings.warn(
        f"fused=True, but torch.compile failed: {reason}. What cannot be compiled runs as foreach; "
        "look at the C++ compiler (g++, or what $CXX names), or leave fused=None",
        stacklevel=6,
    )


def forget() -> None:
    """Try again what failed, and tell again; for tests."""
    _failed.clear()
    _working.clear()
    _told.clear()
