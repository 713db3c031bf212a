"""Whether `torch.compile` works here: what it cannot compile runs as foreach, and one warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import Any

_failed: set[Hashable] = set()
_working: set[Hashable] = set()


def compiles(make: Callable[..., Any], *arguments: Hashable) -> bool:
    """Tell whether something can be compiled; what failed once is not tried again.

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
