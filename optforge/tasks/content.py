"""Content keys of the user's code and values, which change when these change.

Code of an installed package is identified by its version; a class or function of the user by the
files that define it and the user's files that these import; a value by itself. If there is no file,
as in a notebook, or no readable content, the user sets a ``cache_key``.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import PurePath
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from optforge.tasks.source import (
    UnknownContentError,
    files_digest,
    is_installed,
    library_version,
)

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), PurePath,
          torch.dtype, torch.device)  # fmt: skip
_DIGITS = 16


def content_key(value: Any) -> str:
    """Return sixteen digits that change when a value, or the code that it uses, changes.

    Args:
        value: A function, a class, a module, an array, or plain values in lists and dictionaries.

    Raises:
        UnknownContentError: If it holds something whose content cannot be read, such as a lock or a
            function that was defined in a notebook.

    Example:
        >>> content_key({"lr": 0.1}) == content_key({"lr": 0.2})
        False
        >>> import threading
        >>> content_key([threading.Lock()])
        Traceback (most recent call last):
            ...
        optforge.tasks.source.UnknownContentError: a lock, whose content cannot be read
    """
    digest = hashlib.sha256()
    try:
        for part in _parts(value):
            digest.update(part.encode(errors="replace") + b"\0")
    except RecursionError:
        raise UnknownContentError("a value or function that holds itself") from None
    return digest.hexdigest()[:_DIGITS]


def definition(value: Any) -> str:
    """Return the name of a class or function with its package's version or its files' digest.

    Raises:
        UnknownContentError: If it was not defined in a file.

    Example:
        >>> definition(torch.optim.SGD).split()[0]
        'torch.optim.sgd.SGD'
    """
    module, name = str(value.__module__), value.__qualname__
    if is_installed(module):
        return f"{module}.{name} {library_version(module)}"
    digest = files_digest(module, _code_file(value))
    if digest is None:
        raise UnknownContentError(f"{name}, which was imported from no file")
    return f"{name} {digest}"


def cache_key_of(value: Any) -> str:
    """Return the ``cache_key`` set on a value itself; empty if there is none.

    A class does not inherit it, because an edited subclass would keep its parent's key.
    """
    key = vars(value).get("cache_key", "") if hasattr(value, "__dict__") else ""
    return key if isinstance(key, str) else ""


def _code_file(value: Any) -> str:
    """Return the file that the code of a function, or of a class's methods, names; None if none."""
    members = vars(value).values() if isinstance(value, type) else (value,)
    functions = (inspect.unwrap(member) for member in members if isinstance(member, FunctionType))
    return next((function.__code__.co_filename for function in functions), "")


def _parts(value: Any) -> Iterator[str]:
    """Yield the description of a value, piece by piece."""
    if isinstance(value, enum.Enum):
        yield f"{definition(type(value))} {value.name}"
    elif isinstance(value, _PLAIN):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, list | tuple | set | frozenset | dict):
        yield from _collection(value)
    elif isinstance(value, torch.Tensor | np.ndarray):
        yield _array(value)
    elif key := cache_key_of(value):
        yield f"cache_key {key}"
    elif isinstance(value, type):
        yield from _class(value)
    else:
        yield from _callable_or_object(value)


def _callable_or_object(value: Any) -> Iterator[str]:
    if isinstance(value, functools.partial):
        yield from _parts(["partial", value.func, value.args, value.keywords])
    elif isinstance(value, MethodType):
        yield from _parts(["method", value.__func__, value.__self__])
    elif isinstance(function := inspect.unwrap(value), FunctionType):
        yield from _function(function)
    elif inspect.isroutine(value):
        yield definition(value)
    elif isinstance(value, nn.Module):
        for name, module in value.named_modules():
            plain = {key: x for key, x in vars(module).items() if isinstance(x, _PLAIN)}
            yield from _parts([name, type(module), plain])
        yield from _parts(dict(value.state_dict()))
    elif not is_installed(type(value).__module__) and hasattr(value, "__dict__"):
        yield from _parts([type(value), vars(value)])
    else:
        kind = type(value).__qualname__
        raise UnknownContentError(f"a {kind}, whose content cannot be read")


def _collection(values: Any) -> Iterator[str]:
    yield f"{type(values).__name__} {len(values)}"
    if isinstance(values, set | frozenset):  # their order changes from process to process
        yield from sorted("\0".join(_parts(item)) for item in values)
        return
    for item in values.items() if isinstance(values, dict) else values:
        yield from _parts(item)


def _function(function: FunctionType) -> Iterator[str]:
    """Yield the parts of a function and its closure; an inner one adds its place in the file."""
    yield definition(function)
    if "<" in function.__qualname__ and not is_installed(function.__module__):
        yield str(list(function.__code__.co_positions()))
        yield from _parts([function.__defaults__, function.__kwdefaults__])
    yield from _closure(function)


def _closure(function: FunctionType, owner: type | None = None) -> Iterator[str]:
    for cell in function.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # a name that was never assigned
            continue
        if held is not owner:
            yield from _parts(held)


def _class(cls: type) -> Iterator[str]:
    """Yield the parts of a class; an inner one adds its attributes and its methods' closures."""
    yield definition(cls)
    if "<" not in cls.__qualname__ or is_installed(cls.__module__):
        return
    for base in cls.__bases__:
        yield from _parts(base)
    for name, member in sorted(vars(cls).items()):
        if isinstance(member, FunctionType):
            yield from _closure(inspect.unwrap(member), cls)
        elif isinstance(member, _PLAIN) and not name.startswith("__"):
            yield from _parts([name, member])


def _array(value: torch.Tensor | np.ndarray) -> str:
    if isinstance(value, torch.Tensor):
        plain = torch.view_as_real(value) if value.is_complex() else value
        array = plain.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    else:
        array = value
    if array.dtype == object:
        raise UnknownContentError("an array of objects, whose content cannot be read")
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return f"{type(value).__name__} {value.dtype} {tuple(value.shape)} {digest}"


__all__ = ["UnknownContentError", "cache_key_of", "content_key", "definition"]
