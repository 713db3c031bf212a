"""Kernels by `torch.compile`: tried before they are used; what fails runs as foreach.

A compiler that is found may still fail: a wrong ``$CXX``, no headers, a full disk. Then a step must
go on without it, as where there is none, and one warning says so.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache, lru_cache, wraps
from typing import Any, Protocol, TypeVar

import torch

Kernel = Callable[..., Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class KernelForm(Hashable, Protocol):
    """What kernels are specialised on; forms that are equal share their kernels."""

    @property
    def is_dynamic(self) -> bool:
        """Return whether the kernels are for tensors of any length."""
        ...

    def sources(self) -> Iterator[tuple[Kernel, Sequence[Any]]]:
        """Yield each function to compile, and made-up arguments to compile it with."""
        ...


def cached(function: Function) -> Function:
    """Keep the results of a function of numbers or shapes, except while `torch.compile` traces it.

    The compiler warns of caches, and computes what is constant once anyway.
    """
    known = lru_cache(1 << 16)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return (function if torch.compiler.is_compiling() else known)(*arguments)

    return call  # type: ignore[return-value]


def find_compiler() -> bool:
    """Return whether there is a C++ compiler."""
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    return any(name and shutil.which(name) for name in names)


@cache
def has_compiler() -> bool:
    """Return whether compiled steps can run on the CPU; warn once if they cannot."""
    if not find_compiler():
        _warn(
            "no C++ compiler was found (g++, clang++ or $CXX): foreach runs in its place. Install "
            "one, or leave fused=None"
        )
        return False
    return True


@cache
def kernels_of(form: KernelForm) -> tuple[Kernel, ...] | None:
    """Return the compiled kernels of a form; None where the compiler fails, which warns once."""
    kernels = []
    try:
        with warnings.catch_warnings():
            # Only a remark on speed: each is converted to float32 by itself.
            warnings.filterwarnings("ignore", "bf16 and fp16 are mixed")
            for function, arguments in form.sources():
                kernel = torch.compile(function, fullgraph=True, dynamic=form.is_dynamic)
                kernel(*arguments)
                kernels.append(kernel)
    except Exception as error:  # whatever the compiler ran into
        _warn_of_failure(type(error).__name__, str(error))
        return None
    return tuple(kernels)


_failures: list[str] = []  # the first is the one that is shown


def _warn_of_failure(name: str, text: str) -> None:
    _failures.append(f"{name}: {text}".strip().splitlines()[0][:300])
    if len(_failures) == 1:
        _warn(
            f"torch.compile failed: {_failures[0]}. What cannot be compiled runs as foreach; look "
            "at the C++ compiler (g++, or what $CXX names), or leave fused=None"
        )


def _warn(reason: str) -> None:
    warnings.warn(f"fused=True, but {reason}", stacklevel=7)


def forget() -> None:
    """Compile and warn again; for tests."""
    _failures.clear()
    kernels_of.cache_clear()
    has_compiler.cache_clear()
